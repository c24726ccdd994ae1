"""Labelled rows: the types that every source yields, and seeded, stratified sampling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Text = str | tuple[str, str]  # a pair where a task is about two texts


@dataclass(frozen=True)
class Rows:
    """Texts with their labels; three sequences of one length."""

    ids: tuple[str, ...]  # split or file and place in it, such as 'test/17': the same whatever the sample
    texts: tuple[Text, ...]
    labels: tuple[int, ...]  # indices into the label names

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int] | Indices) -> Rows:
        """Return the rows at `indices`, in that order."""
        return Rows(
            ids=tuple(self.ids[i] for i in indices),
            texts=tuple(self.texts[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
        )


@dataclass(frozen=True)
class Flaws:
    """What was amiss with the rows, in counts."""

    shared: int = 0  # rows of train in use whose text also stands in a row of test in use
    shared_validation: int = 0  # rows of validation in use, likewise
    dropped: int = 0  # rows that train and validation lost because test has their text
    without_text: Mapping[str, int] = field(default_factory=dict)  # rows left out, by split; none where it isn't listed
    without_label: Mapping[str, int] = field(default_factory=dict)  # further ones, likewise


@dataclass(frozen=True)
class LabelledData:
    """The three splits of a classification data set. Test rows are scored once, at the end, and choose nothing."""

    train: Rows
    validation: Rows
    test: Rows
    label_names: tuple[str, ...]
    flaws: Flaws = Flaws()

    def counts(self) -> dict[str, int]:
        """Return the rows of each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    @cached_property
    def sha256(self) -> str:
        """A hash of ids, labels and texts of all splits: what two trials must share to be compared."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for row in zip(split.ids, split.labels, split.texts, strict=True):
                digest.update(repr(row).encode())
        return digest.hexdigest()


def stratified_order(labels: Sequence[int], seed: int) -> Indices:
    """Return an order of the rows whose every prefix holds the classes in the proportions of the whole.

    A sample is a prefix, so a smaller sample is contained in a larger one. Row k of a class of n rows, in seeded random
    order, takes the place (k + 1/2) / n; ties are broken at random.
    """
    generator = np.random.default_rng(seed)
    values = np.asarray(labels)
    places = np.empty(len(values))
    for label in np.unique(values):
        members = generator.permutation(np.flatnonzero(values == label))
        places[members] = (np.arange(len(members)) + 0.5) / len(members)
    order: Indices = np.lexsort((generator.random(len(values)), places))
    return order
