from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import toy_file
from loralab.engine.batches import evaluation_batches, order_sha256, training_steps
from loralab.engine.evaluation import BATCHES, PROCESSOR_TOKENS, scored_at_once
from loralab.experiment import Conditions

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=300).map(lambda found: np.array(found, dtype=np.int64))


def conditions(**changes: Any) -> Conditions:
    return Conditions(**toy_file(Path("model"), Path("data"))["conditions"] | changes)


@given(LENGTHS, st.integers(1, 20), st.integers(1, 4), st.integers(0, 9))
def test_every_row_is_in_one_batch_an_epoch(lengths: np.ndarray, batch_size: int, accumulation: int, seed: int) -> None:
    planned = training_steps(lengths, conditions(batch_size=batch_size, accumulation=accumulation, epochs=2), seed)
    for epoch in (1, 2):
        steps = [step for step in planned if epoch - 1 < step.epoch <= epoch]
        assert sorted(i for step in steps for batch in step.batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) <= batch_size for step in planned for batch in step.batches)
    assert all(len(step.batches) <= accumulation for step in planned)


@given(LENGTHS, st.integers(1, 20))
def test_evaluation_sees_every_row_once(lengths: np.ndarray, batch_size: int) -> None:
    batches = evaluation_batches(lengths, batch_size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 20), st.integers(100, 2000))
def test_a_limit_of_tokens_holds_for_every_batch_and_leaves_no_row_out(
    lengths: np.ndarray, batch_size: int, limit: int
) -> None:
    limited = {"batch_size": batch_size, "batch_tokens": limit, "accumulation": 1, "epochs": 1}
    planned = training_steps(lengths, conditions(**limited), seed=0)
    for batches in ([step.batches[0] for step in planned], evaluation_batches(lengths, batch_size, limit)):
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        assert all(len(batch) <= batch_size for batch in batches)
        assert all(len(batch) == 1 or lengths[batch].max() * len(batch) <= limit for batch in batches)


def test_a_processor_scores_batches_of_few_tokens_and_a_gpu_those_that_the_conditions_allow() -> None:
    processor, gpu = torch.device("cpu"), torch.device("cuda")
    assert scored_at_once(processor, None) == scored_at_once(processor, 100_000) == PROCESSOR_TOKENS
    assert scored_at_once(processor, 100) == scored_at_once(gpu, 100) == 100 * BATCHES
    assert scored_at_once(gpu, None) is None


def test_a_limit_of_tokens_makes_large_batches_of_short_texts_and_small_ones_of_long_texts() -> None:
    lengths = np.repeat([10, 500], 100)
    planned = training_steps(lengths, conditions(batch_size=50, batch_tokens=2000, epochs=1), seed=0)
    largest = {10: 0, 500: 0}
    for batch in (batch for step in planned for batch in step.batches):
        longest = int(lengths[batch].max())
        largest[longest] = max(largest[longest], len(batch))
    assert largest == {10: 50, 500: 4}


def test_the_order_depends_on_the_seed_and_nothing_else() -> None:
    lengths = np.arange(1, 201)
    ids = [str(i) for i in range(200)]
    first, again, other = (training_steps(lengths, conditions(), seed) for seed in (1, 1, 2))
    assert order_sha256(first, ids) == order_sha256(again, ids) != order_sha256(other, ids)


def test_two_epochs_have_different_orders() -> None:
    planned = training_steps(np.arange(1, 201), conditions(epochs=2), seed=0)
    orders = [[list(batch) for step in planned[half] for batch in step.batches] for half in (slice(25), slice(25, 50))]
    assert orders[0] != orders[1]


def test_batches_hold_texts_of_like_length_so_that_little_is_padded() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, size=2000)
    planned = training_steps(lengths, conditions(epochs=1), seed=0)
    padded = sum(lengths[batch].max() * len(batch) for step in planned for batch in step.batches)
    assert padded < 1.1 * lengths.sum()


def test_so_many_steps_are_planned_as_asked_for_and_the_last_one_validates() -> None:
    for steps in (1, 24, 25, 26, 60):
        planned = training_steps(np.full(100, 5), conditions(epochs=None, steps=steps, batch_size=4), seed=0)
        assert len(planned) == steps
        assert planned[-1].validates


def test_validations_are_spread_over_an_epoch() -> None:
    planned = training_steps(np.full(100, 5), conditions(epochs=2, batch_size=10, validations_per_epoch=2), seed=0)
    assert [step.epoch for step in planned if step.validates] == [0.5, 1.0, 1.5, 2.0]
