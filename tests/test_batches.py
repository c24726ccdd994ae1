import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loralab.engine.batches import evaluation_batches, order_sha256, training_epochs

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=300).map(lambda found: np.array(found, dtype=np.int64))


@given(LENGTHS, st.integers(1, 20), st.integers(1, 4), st.integers(0, 9))
def test_every_row_is_in_one_batch_an_epoch(lengths: np.ndarray, batch_size: int, accumulation: int, seed: int) -> None:
    for epoch in training_epochs(lengths, batch_size, accumulation, epochs=2, steps=None, seed=seed):
        assert sorted(i for step in epoch for batch in step for i in batch) == list(range(len(lengths)))
        assert all(len(batch) <= batch_size for step in epoch for batch in step)
        assert all(len(step) <= accumulation for step in epoch)


@given(LENGTHS, st.integers(1, 20))
def test_evaluation_sees_every_row_once(lengths: np.ndarray, batch_size: int) -> None:
    batches = evaluation_batches(lengths, batch_size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


def test_the_order_depends_on_the_seed_and_nothing_else() -> None:
    lengths = np.arange(1, 201)
    ids = [str(i) for i in range(200)]
    first, again, other = (training_epochs(lengths, 8, 1, 2, None, seed) for seed in (1, 1, 2))
    assert order_sha256(first, ids) == order_sha256(again, ids) != order_sha256(other, ids)


def test_two_epochs_have_different_orders() -> None:
    first, second = training_epochs(np.arange(1, 201), 8, 1, 2, None, seed=0)
    assert [list(batch) for step in first for batch in step] != [list(batch) for step in second for batch in step]


def test_batches_hold_texts_of_like_length_so_that_little_is_padded() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, size=2000)
    (epoch,) = training_epochs(lengths, 8, 1, 1, None, seed=0)
    padded = sum(lengths[batch].max() * len(batch) for step in epoch for batch in step)
    assert padded < 1.1 * lengths.sum()


def test_so_many_steps_are_planned_as_asked_for() -> None:
    for steps in (1, 24, 25, 26, 60):
        epochs = training_epochs(np.full(100, 5), 4, 1, None, steps, seed=0)
        assert sum(len(epoch) for epoch in epochs) == steps
