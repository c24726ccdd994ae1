"""Texts -> token numbers, by a tokenizer of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loralab.tasks.examples import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 1000  # texts


def encoded(
    tokenizer: PreTrainedTokenizerBase, *columns: Sequence[str], **settings: Any
) -> Iterator[Mapping[str, Any]]:
    """Yield what the tokenizer makes of texts, or of pairs in two columns, some of them at a time.

    It answers in Python's lists and numbers, which take ten times the memory of an array: of a large split at once they
    would take more than anything after them.
    """
    for begin in range(0, len(columns[0]), AT_ONCE):
        some = (list(column[begin : begin + AT_ONCE]) for column in columns)
        found: Mapping[str, Any] = tokenizer(*some, return_attention_mask=False, **settings)
        yield found


def as_tokens(numbers: Sequence[int]) -> Tokens:
    """Return the numbers in as little memory as they need."""
    return np.array(numbers, dtype=np.int32)


def joined(texts: Sequence[Tokens]) -> Tokens:
    """Return all texts one behind the other."""
    return np.concatenate(texts) if texts else as_tokens([])
