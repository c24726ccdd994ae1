"""Which texts go into which batch: like lengths together, in an order that depends on the seed and the data alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

POOL_BATCHES = 32  # shuffled rows are sorted by length within pools of so many batches


def epoch_batches(lengths: Indices, batch_size: int, generator: np.random.Generator) -> list[Indices]:
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
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def training_epochs(
    lengths: Indices, batch_size: int, accumulation: int, epochs: int | None, steps: int | None, seed: int
) -> list[list[list[Indices]]]:
    """Return epochs of optimizer steps of batches, for so many `epochs` or, instead, so many `steps`.

    A step has `accumulation` batches, an epoch's last one perhaps fewer. The last epoch ends when `steps` are done.
    """
    generator = np.random.default_rng(seed)
    planned: list[list[list[Indices]]] = []
    left = steps
    while left is None or left > 0:
        if epochs is not None and len(planned) == epochs:
            break
        batches = epoch_batches(lengths, batch_size, generator)
        grouped = [batches[i : i + accumulation] for i in range(0, len(batches), accumulation)]
        planned.append(grouped if left is None else grouped[:left])
        left = None if left is None else left - len(planned[-1])
    return planned


def evaluation_batches(lengths: Indices, batch_size: int) -> list[Indices]:
    """Return batches in order of length, longest first, so that memory runs out at once or not at all."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def order_sha256(epochs: Sequence[Sequence[Sequence[Indices]]], ids: Sequence[str]) -> str:
    """Return a hash of the texts in the order in which they are trained on, batch by batch."""
    digest = hashlib.sha256()
    for step in (step for epoch in epochs for step in epoch):
        for batch in step:
            digest.update(" ".join(ids[i] for i in batch).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()
