"""Which texts go into which batch: like lengths together, in an order that no arm has a say in."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loralab.data.rows import Indices
from loralab.experiment import Conditions

POOL_BATCHES = 32  # shuffled rows are sorted by length within pools of so many batches


def epoch_batches(
    lengths: Indices, batch_size: int, batch_tokens: int | None, generator: np.random.Generator
) -> list[Indices]:
    """Return the batches of one epoch; every row is in exactly one.

    The rows are shuffled and cut into pools; a pool is sorted by length and cut into batches; the batches are shuffled.
    So a batch holds texts of like length, and little is padded, while the order stays random.
    """
    order = generator.permutation(len(lengths))
    pool_size = POOL_BATCHES * batch_size
    batches: list[Indices] = []
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += _cut(pool, lengths, batch_size, batch_tokens)
    return [batches[i] for i in generator.permutation(len(batches))]


def _cut(order: Indices, lengths: Indices, batch_size: int, batch_tokens: int | None) -> list[Indices]:
    """Cut rows in order of length into batches of at most `batch_size` rows and, padded, `batch_tokens` tokens.

    A row that is longer alone is a batch of its own.
    """
    if batch_tokens is None:
        return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    batches: list[list[int]] = []
    for row in order.tolist():
        longest = max(lengths[row], lengths[batches[-1][0]]) if batches else 0
        fits = batches and len(batches[-1]) < batch_size and longest * (len(batches[-1]) + 1) <= batch_tokens
        if fits:
            batches[-1].append(row)
        else:
            batches.append([row])
    return [np.array(batch, dtype=np.int64) for batch in batches]


@dataclass(frozen=True)
class Step:
    """One optimizer step as it is planned."""

    batches: tuple[Indices, ...]
    epoch: float  # epochs done after it
    validates: bool  # whether validation is scored after it

    @property
    def texts(self) -> int:
        """How many texts it trains on."""
        return sum(len(batch) for batch in self.batches)

    def tokens(self, lengths: Indices) -> int:
        """How many real tokens it trains on."""
        return int(sum(lengths[batch].sum() for batch in self.batches))


def training_steps(lengths: Indices, conditions: Conditions, seed: int) -> list[Step]:
    """Return every optimizer step of a training, in order: they depend on the data, the conditions and the seed alone.

    A step has `accumulation` batches, an epoch's last one perhaps fewer. Where the conditions count steps instead of
    epochs, the last epoch ends with the last step.
    """
    generator = np.random.default_rng(seed)
    planned: list[Step] = []
    for epoch in itertools.count():
        if epoch == conditions.epochs or (conditions.steps is not None and len(planned) >= conditions.steps):
            break
        batches = epoch_batches(lengths, conditions.batch_size, conditions.batch_tokens, generator)
        grouped = [batches[i : i + conditions.accumulation] for i in range(0, len(batches), conditions.accumulation)]
        left = None if conditions.steps is None else conditions.steps - len(planned)
        validated = _spread(len(grouped[:left]), conditions.validations_per_epoch)
        planned += [
            Step(tuple(step), epoch + position / len(grouped), position in validated)
            for position, step in enumerate(grouped[:left], start=1)
        ]
    return planned


def _spread(steps: int, times: int) -> set[int]:
    """Return the steps of an epoch after which to validate: evenly spread, the last one always among them."""
    return {max(1, round(steps * (k + 1) / times)) for k in range(times)}


def evaluation_batches(lengths: Indices, batch_size: int, batch_tokens: int | None = None) -> list[Indices]:
    """Return batches in order of length, longest first, so that memory runs out at once or not at all."""
    order = np.argsort(-lengths, kind="stable")
    return _cut(order, lengths, batch_size, batch_tokens)


def order_sha256(steps: Sequence[Step], ids: Sequence[str]) -> str:
    """Return a hash of the texts in the order in which they are trained on, batch by batch."""
    digest = hashlib.sha256()
    for step in steps:
        for batch in step.batches:
            digest.update(" ".join(ids[i] for i in batch).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()
