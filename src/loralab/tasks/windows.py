"""Documents -> one stream of tokens -> the windows in which a language model reads it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from loralab.data.corpus import Context
from loralab.data.documents import Documents
from loralab.data.rows import Indices
from loralab.errors import UserError
from loralab.pretrained import text_start
from loralab.tasks.encoding import as_tokens, encoded
from loralab.tasks.examples import NOWHERE, Stream, Windows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def make_stream(documents: Documents, tokenizer: PreTrainedTokenizerBase, *, last_word: bool = False) -> Stream:
    """Tokenise the documents and join them; `last_word`: find where the last word of each begins.

    Before each document stands what the tokenizer puts before a text, or where that is nothing, the end-of-text token.
    """
    start = text_start(tokenizer)
    between = tokenizer.eos_token_id if start is None else start
    pieces, inside = [], []
    named = zip(documents.ids, documents.texts, strict=True)
    settings = {"add_special_tokens": False, "return_offsets_mapping": last_word, "verbose": False}
    for some in encoded(tokenizer, documents.texts, **settings):
        pieces += [as_tokens(piece) for piece in some["input_ids"]]
        inside += [_last_word(*next(named), offsets) for offsets in some.get("offset_mapping", [])]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    begins = np.cumsum(lengths + 1) - lengths  # the first token of each document, what stands between them before it
    tokens = np.full(int(lengths.sum()) + len(pieces) + 1, between, dtype=np.int32)
    owners = np.full(len(tokens), NOWHERE, dtype=np.int32)
    for number, (begin, piece) in enumerate(zip(begins, pieces, strict=True)):
        tokens[begin : begin + len(piece)] = piece
        owners[begin : begin + len(piece)] = number
    last_words = None
    if last_word:
        last_words = tuple(
            (int(begin + first), int(begin + end)) for begin, (first, end) in zip(begins, inside, strict=True)
        )
    sizes = tuple(len(text.encode()) for text in documents.texts)
    return Stream(tokens, owners, documents.ids, sizes, start, last_words)


def _last_word(name: str, text: str, offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return from which to before which token there are characters of the text's last word, not of blanks behind it.

    Raises UserError where the tokenizer makes no token of it.
    """
    word_end = len(text.rstrip())
    word = word_end - len(text.rsplit(maxsplit=1)[-1])
    places = [place for place, (begin, end) in enumerate(offsets) if end > word and begin < word_end]
    if not places:
        raise UserError(f"{name}: the model's tokenizer makes no token of its last word, {text[word:word_end]!r}")
    return places[0], places[-1] + 1


def training_blocks(stream: Stream, block_size: int) -> Windows:
    """Cut the stream into windows of `block_size` tokens that follow one another; what is left at the end is dropped.

    Every token but the first is predicted once an epoch. Nothing is padded. Where a start token takes the place of a
    block's first token, the second has nothing else before it and isn't predicted.
    """
    starts = np.arange((len(stream.tokens) - 1) // block_size, dtype=np.int64) * block_size
    is_replaced = stream.start is not None and stream.tokens[starts] != stream.start
    return Windows(stream, starts, starts + 1 + is_replaced, starts + block_size, between_too=True)


def scoring_windows(stream: Stream, window: int, stride: int, context: Context) -> Windows:
    """Slide a window of at most `window` tokens over the stream, `stride` tokens further each time.

    Every token of a document is scored once, by the first window that reaches it, with at least `window - stride`
    tokens before it where there are so many.
    """
    if context == "corpus":
        bounds = [(0, len(stream.tokens) - 1)]
    else:  # from the end-of-text token before a document to its last token
        places = np.flatnonzero(stream.owners == NOWHERE)
        bounds = [(int(begin), int(end) - 1) for begin, end in pairwise(places)]
    slid = [_slide(begin, end, window, stride) for begin, end in bounds if end > begin]
    starts, firsts, ends = (np.concatenate(column) for column in zip(*slid, strict=True))
    found = Windows(stream, starts, firsts, ends, between_too=False)
    return found.take(np.flatnonzero(found.weights > 0))


def _slide(begin: int, end: int, window: int, stride: int) -> tuple[Indices, Indices, Indices]:
    """Return starts, firsts and ends of the windows that predict the tokens after `begin`, up to and with `end`."""
    steps = max(0, -(-(end - begin - window) // stride))
    ends = np.minimum(begin + window + stride * np.arange(steps + 1, dtype=np.int64), end)
    firsts = np.concatenate([[begin + 1], ends[:-1] + 1])
    return np.maximum(begin, ends - window), firsts, ends
