import pytest
from hypothesis import given
from hypothesis import strategies as st

from loralab.statistics.decisions import LEVEL
from loralab.statistics.power import rows_needed, seeds_needed, smallest_margin

ROWS, SEEDS, SHARES = st.integers(10, 100_000), st.integers(1, 20), st.floats(0.01, 1.0)


def test_the_smallest_margin_is_that_of_the_textbook_for_one_seed() -> None:
    """(1.96 + 0.84) * sqrt(0.1 / 1000)."""
    assert smallest_margin(rows=1000, seeds=1, level=0.025, disagreement=0.1) == pytest.approx(0.02802, rel=1e-3)


@given(ROWS, SEEDS, SHARES)
def test_as_many_rows_as_are_needed_decide_the_margin_and_one_less_does_not(
    rows: int, seeds: int, disagreement: float
) -> None:
    margin = smallest_margin(rows, seeds, LEVEL, disagreement)
    needed = rows_needed(margin * 1.0001, seeds, LEVEL, disagreement)
    assert needed <= rows
    assert smallest_margin(needed, seeds, LEVEL, disagreement) <= margin * 1.0001
    assert needed == 1 or smallest_margin(needed - 1, seeds, LEVEL, disagreement) > margin


@given(ROWS, SHARES, st.floats(0.001, 0.2))
def test_as_many_seeds_as_are_needed_decide_the_margin(rows: int, disagreement: float, margin: float) -> None:
    needed = seeds_needed(margin, rows, LEVEL, disagreement)
    if needed is None:
        assert smallest_margin(rows, 10_000, LEVEL, disagreement) > margin * 0.999
    else:
        assert smallest_margin(rows, needed, LEVEL, disagreement) <= margin * 1.0001


def test_seeds_alone_can_not_make_up_for_few_texts() -> None:
    assert seeds_needed(margin=0.01, rows=100, level=LEVEL) is None
