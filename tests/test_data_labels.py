"""Whatever a label is in the source, it ends as a number and a name."""

from typing import Any

import pytest

from loralab.data.labels import number_labels


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        (["b", "a", "b"], ("a", "b"), (1, 0, 1)),
        ([10, 2, 4], ("2", "4", "10"), (2, 0, 1)),
        (["10", "2", "4"], ("2", "4", "10"), (2, 0, 1)),
        ([1.0, 0.0], ("0", "1"), (1, 0)),
        (["1.0", "0.0"], ("0", "1"), (1, 0)),
        ([-1, 1], ("-1", "1"), (0, 1)),
        ([True, False], ("false", "true"), (1, 0)),
        (["True", "FALSE", "true"], ("false", "true"), (1, 0, 1)),
        ([" a", "a ", "b"], ("a", "b"), (0, 0, 1)),
        (["1\x1d", " 0"], ("0", "1"), (1, 0)),
        (["007", "7"], ("007", "7"), (0, 1)),
        ([1, "one"], ("1", "one"), (0, 1)),
        (["half \ud83d", "a"], ("a", "half �"), (1, 0)),
    ],
)
def test_labels_become_numbers_and_names(labels: list[Any], names: tuple[str, ...], indices: tuple[int, ...]) -> None:
    found = number_labels({"train": labels}, (), "rows")
    assert found.names == names
    assert found.indices["train"] == indices


@pytest.mark.parametrize(
    ("labels", "indices"),
    [([1, 0, 1], (1, 0, 1)), (["1", "0"], (1, 0)), ([False, True], (0, 1)), (["good", "bad"], (1, 0))],
)
def test_given_names_name_the_numbers_from_0_or_order_the_words(labels: list[Any], indices: tuple[int, ...]) -> None:
    found = number_labels({"train": labels}, ("bad", "good"), "rows")
    assert found.names == ("bad", "good")
    assert found.indices["train"] == indices


@pytest.mark.parametrize(
    ("names", "indices"), [(("True", "False"), (0, 1)), (("false", "true"), (1, 0)), (("no", "yes"), (1, 0))]
)
def test_names_that_are_the_truths_themselves_keep_their_order(
    names: tuple[str, str], indices: tuple[int, int]
) -> None:
    found = number_labels({"train": ["True", "False"]}, names, "rows")
    assert found.names == names
    assert found.indices["train"] == indices


def test_many_classes_with_many_rows_each_are_no_amounts() -> None:
    labels = [row % 60 for row in range(600)]
    assert len(number_labels({"train": labels}, (), "rows").names) == 60
    assert len(number_labels({"train": list(range(60))}, [f"intent {i}" for i in range(60)], "rows").names) == 60
