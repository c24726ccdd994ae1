"""What a final trial's model made of every test item, kept one by one: what every comparison is computed from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator

from loralab.settings import Settings


class LabelScores(Settings):
    """Every text, in the order of the texts; four sequences of one length."""

    kind: Literal["labels"] = "labels"
    label_count: int
    ids: tuple[str, ...]
    labels: tuple[int, ...]
    predictions: tuple[int, ...]
    log_losses: tuple[float, ...]  # nats


class DocumentScores(Settings):
    """Every document of a set, in the order of the documents; sequences of one length."""

    ids: tuple[str, ...]
    nats: tuple[float, ...]  # negative log-likelihood, summed over the document's tokens
    tokens: tuple[int, ...]  # those scored: all of the document's own
    bytes: tuple[int, ...]  # of the document in UTF-8
    last_words: tuple[bool, ...] | None = None  # whether every token of the last word was the likeliest, if asked for


class CorpusScores(Settings):
    """Every document of every set that was scored, by the set's name."""

    kind: Literal["corpus"] = "corpus"
    sets: dict[str, DocumentScores]  # the first is the one that the task is about, the others come from elsewhere

    @property
    def ids(self) -> tuple[str, ...]:
        """The documents of all sets, told apart by the set's name."""
        return tuple(f"{name}:{document}" for name, scores in self.sets.items() for document in scores.ids)


Items = Annotated[LabelScores | CorpusScores, Discriminator("kind")]
