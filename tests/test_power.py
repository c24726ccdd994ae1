import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import MakeExperiment
from loralab.files import read_experiment
from loralab.statistics.decisions import LEVEL
from loralab.statistics.estimate import crossed
from loralab.statistics.power import LASTING, rows_needed, seeds_needed, smallest_margin
from loralab.statistics.resampling import resample

ROWS_GIVEN = [(name, None) for name in ("aa-check", "imdb-distilbert", "quickstart", "rank-sweep", "variants")]
ROWS, SEEDS, SHARES = st.integers(10, 100_000), st.integers(1, 20), st.floats(0.01, 1.0)


def test_the_smallest_margin_is_that_of_the_textbook_for_one_seed_and_many_texts() -> None:
    """(1.96 + 0.84) * sqrt(0.1 / 10,000)."""
    assert smallest_margin(rows=10_000, seeds=1, level=0.025, disagreement=0.1) == pytest.approx(0.00886, rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_the_smallest_margin_is_decided_in_about_four_of_five_simulated_experiments(seeds: int) -> None:
    """By the estimate that judges real results: few seeds have few degrees of freedom, and the plan must know it."""
    rows, share, level, generator = 500, 0.15, 0.05, np.random.default_rng(seeds)
    margin, decided = smallest_margin(rows, seeds, level, share), []
    for experiment in range(300):
        lasting = generator.normal(0, np.sqrt(share * LASTING), (rows, 1))
        apart = (lasting + generator.normal(0, np.sqrt(share * (1 - LASTING)), (rows, seeds))).astype(np.float32)
        drawn = resample(apart[:, :, None], lambda means: means[..., 0], 300, experiment)
        decided.append(crossed(apart.mean(axis=0, dtype=np.float64), drawn, rows).p_above(-margin) <= level)
    assert 0.72 < np.mean(decided) < 0.95


@settings(deadline=None)
@given(ROWS, SEEDS, SHARES)
def test_as_many_rows_as_are_needed_decide_the_margin_and_one_less_does_not(
    rows: int, seeds: int, disagreement: float
) -> None:
    margin = smallest_margin(rows, seeds, LEVEL, disagreement)
    needed = rows_needed(margin * 1.0001, seeds, LEVEL, disagreement)
    assert needed <= rows
    assert smallest_margin(needed, seeds, LEVEL, disagreement) <= margin * 1.0001
    assert needed == 2 or smallest_margin(needed - 1, seeds, LEVEL, disagreement) > margin


@settings(deadline=None)
@given(ROWS, SHARES, st.floats(0.001, 0.2))
def test_as_many_seeds_as_are_needed_decide_the_margin_and_one_less_does_not(
    rows: int, disagreement: float, margin: float
) -> None:
    needed = seeds_needed(margin, rows, LEVEL, disagreement)
    if needed is None:
        assert smallest_margin(rows, 100, LEVEL, disagreement) > margin
    else:
        assert smallest_margin(rows, needed, LEVEL, disagreement) <= margin
        assert needed == 2 or smallest_margin(rows, needed - 1, LEVEL, disagreement) > margin


def test_seeds_alone_can_not_make_up_for_few_texts() -> None:
    assert seeds_needed(margin=0.01, rows=100, level=LEVEL) is None


def test_a_plan_counts_on_looks_and_on_every_arm(make_experiment: MakeExperiment) -> None:
    """Two arms beside the baseline, each at the level of one of four looks."""
    assert make_experiment(seeds="auto").level_of_an_arm == pytest.approx(0.05 / 4 / 2)


@pytest.mark.parametrize(("recipe", "rows"), [("sst2", 872), ("imdb-distilbert-thorough", 25_000), *ROWS_GIVEN])
def test_a_recipe_can_decide_its_margin(recipe: str, rows: int | None) -> None:
    experiment = read_experiment(recipe)
    given = rows or experiment.conditions.task.data.model_dump()["rows"]["test"]
    least = smallest_margin(given, len(experiment.seeds), experiment.level_of_an_arm)
    assert least <= experiment.primary_margin
