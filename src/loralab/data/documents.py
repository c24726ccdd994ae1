"""Documents: the types that a language model's data have, as `rows` has those of labelled texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import ClassVar

from loralab.data.rows import Flaws, Indices


@dataclass(frozen=True)
class Documents:
    """Texts as they stand in the source, line ends and all; two sequences of one length."""

    ids: tuple[str, ...]  # the row that it is or begins with, such as 'test/17', or its file: the same in every sample
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int] | Indices) -> Documents:
        """Return the documents at `indices`, in that order."""
        return Documents(ids=tuple(self.ids[i] for i in indices), texts=tuple(self.texts[i] for i in indices))


@dataclass(frozen=True)
class CorpusData:
    """The three splits of a corpus, and further sets to score on. Test is scored once, at the end."""

    label_names: ClassVar[tuple[str, ...]] = ()  # as LabelledData has: nothing is labelled here

    train: Documents
    validation: Documents
    test: Documents
    others: Mapping[str, Documents]  # by the name that the experiment gives them
    flaws: Flaws

    def counts(self) -> dict[str, int]:
        """Return the documents of each split and set."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: len(documents) for name, documents in (splits | dict(self.others)).items()}

    @cached_property
    def sha256(self) -> str:
        """A hash of all names, ids and texts: what two trials must share to be compared."""
        splits = [("train", self.train), ("validation", self.validation), ("test", self.test)]
        digest = hashlib.sha256()
        for name, documents in (*splits, *sorted(self.others.items(), key=itemgetter(0))):
            digest.update(repr((name, documents.ids, documents.texts)).encode())
        return digest.hexdigest()
