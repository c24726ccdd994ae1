import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loralab.data.rows import LabelledData, Rows, stratified_order

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=200)


@given(LABELS, st.integers(0, 99))
def test_every_row_has_one_place_in_the_order(labels: list[int], seed: int) -> None:
    assert sorted(stratified_order(labels, seed)) == list(range(len(labels)))


@given(LABELS, st.integers(0, 99), st.floats(0, 1))
def test_every_prefix_holds_the_classes_in_proportion(labels: list[int], seed: int, share: float) -> None:
    size = round(share * len(labels))
    prefix = np.asarray(labels)[stratified_order(labels, seed)[:size]]
    classes = len(set(labels))
    for label in set(labels):
        expected = size * labels.count(label) / len(labels)
        assert abs((prefix == label).sum() - expected) <= classes


def test_the_order_depends_on_the_seed_alone() -> None:
    labels = [0, 1] * 50
    assert list(stratified_order(labels, 3)) == list(stratified_order(labels, 3))
    assert list(stratified_order(labels, 3)) != list(stratified_order(labels, 4))


def test_the_hash_of_the_data_sees_every_text_label_and_split() -> None:
    rows = Rows(("a", "b"), ("x", "y"), (0, 1))
    other = Rows(("a", "b"), ("x", "z"), (0, 1))
    relabelled = Rows(("a", "b"), ("x", "y"), (1, 1))
    hashes = {
        LabelledData(*splits, label_names=("n", "p")).sha256
        for splits in [(rows, rows, rows), (other, rows, rows), (rows, other, rows), (rows, rows, relabelled)]
    }
    assert len(hashes) == 4
