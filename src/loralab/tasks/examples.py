"""What a network is trained on and scored on: the tokens of one split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from loralab.data.rows import Indices

Tokens = npt.NDArray[np.int32]

NOWHERE = -1  # the owner of a token that stands between documents


@dataclass(frozen=True)
class Texts:
    """Tokenised labelled texts, one behind the other, not padded."""

    ids: tuple[str, ...]
    stream: Tokens  # (tokens) of all texts
    starts: Indices  # (texts): where each begins in the stream
    lengths: Indices  # (texts): tokens of each
    labels: Indices  # (texts)
    truncated: int  # texts that were longer than `max_length` tokens
    types: Tokens | None = None  # (tokens): which text of a pair a token is of; None where all are zero

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Indices) -> Texts:
        """Return the texts at `indices`, in that order."""
        chosen = {name: getattr(self, name)[indices] for name in ("starts", "lengths", "labels")}
        return replace(self, ids=tuple(self.ids[i] for i in indices), **chosen)

    @property
    def highest_token(self) -> int:
        """The highest number of a token."""
        return int(self.stream.max())

    @property
    def weights(self) -> Indices:
        """How many terms each text adds to a loss: one, its label."""
        return np.ones(len(self), dtype=np.int64)

    @property
    def tokens(self) -> int:
        """How many tokens there are in all."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class Stream:
    """Documents as one sequence of tokens, with a token between them, before each and after the last."""

    tokens: Tokens  # (tokens)
    owners: Tokens  # (tokens): the number of the document that a token is of, or NOWHERE
    ids: tuple[str, ...]  # of the documents
    bytes: tuple[int, ...]  # of the documents in UTF-8
    start: int | None  # what the tokenizer puts before every text, and so stands first in every window
    # Of each document, from where to before where in `tokens` its last word stands, if asked for.
    last_words: tuple[tuple[int, int], ...] | None = None

    @cached_property
    def owned_before(self) -> Indices:
        """How many of the tokens before each place, and before the end, are of a document, (tokens + 1)."""
        return np.concatenate([[0], np.cumsum(self.owners != NOWHERE, dtype=np.int64)])


@dataclass(frozen=True)
class Windows:
    """Pieces of a stream that a network reads at once; each predicts the token after every token that it reads.

    Window i reads `tokens[starts[i]:ends[i]]`. Of the tokens that it predicts, up to and with `tokens[ends[i]]`, those
    from `firsts[i]` on count: those before were scored by another window, and are context here.
    """

    stream: Stream
    starts: Indices  # (windows)
    firsts: Indices  # (windows)
    ends: Indices  # (windows)
    between_too: bool  # whether end-of-text tokens count: they are learnt, but not scored, since no text holds them
    truncated: int = 0  # nothing is ever cut

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, indices: Indices) -> Windows:
        """Return the windows at `indices`, in that order."""
        return replace(self, starts=self.starts[indices], firsts=self.firsts[indices], ends=self.ends[indices])

    @property
    def ids(self) -> tuple[str, ...]:
        """A name for each window: where it begins."""
        return tuple(map(str, self.starts))

    @property
    def highest_token(self) -> int:
        """The highest number of a token."""
        return int(self.stream.tokens.max())

    @property
    def lengths(self) -> Indices:
        """Tokens that each window reads."""
        return self.ends - self.starts

    @property
    def weights(self) -> Indices:
        """How many tokens of each window count."""
        if self.between_too:
            return self.ends + 1 - self.firsts
        owned = self.stream.owned_before  # counted once: a step asks for its few windows alone
        return np.asarray(owned[self.ends + 1] - owned[self.firsts])

    @property
    def tokens(self) -> int:
        """How many tokens there are in all, each counted once."""
        return int(self.weights.sum())

    def count(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Tell of the tokens at `places` of the stream whether they count where they are predicted, (...)."""
        return np.asarray((self.stream.owners[places] != NOWHERE) | self.between_too)


Examples = Texts | Windows
