"""How documents are cut: every token is scored once, in its own context, and learnt once an epoch."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from loralab.data.corpus import Context
from loralab.errors import UserError
from loralab.tasks.examples import NOWHERE, Windows
from loralab.tasks.windows import make_stream, scoring_windows, training_blocks
from toy_language import byte_tokenizer, documents, stream_of

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any)
CUTS = st.integers(1, 12).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window)))  # and stride
CONTEXTS = st.sampled_from(["document", "corpus"])


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return byte_tokenizer()


def scored(windows: Windows) -> list[tuple[int, int, int]]:
    """Every token that is scored: its place, that of the first token which its window reads, and of the last."""
    owners = windows.stream.owners
    return [
        (place, int(start), int(end) - 1)
        for start, first, end in zip(windows.starts, windows.firsts, windows.ends, strict=True)
        for place in range(first, end + 1)
        if owners[place] != NOWHERE or windows.between_too
    ]


# In scoring


@given(LENGTHS, CUTS, CONTEXTS)
def test_every_token_of_every_document_is_scored_once_and_no_other(
    lengths: Sequence[int], cut: tuple[int, int], context: Context
) -> None:
    stream = stream_of(lengths)
    found = [place for place, _, _ in scored(scoring_windows(stream, *cut, context))]
    assert sorted(found) == [place for place, owner in enumerate(stream.owners) if owner != NOWHERE]


@given(LENGTHS, CUTS, CONTEXTS)
def test_a_token_is_predicted_from_as_much_as_the_window_allows(
    lengths: Sequence[int], cut: tuple[int, int], context: Context
) -> None:
    window, stride = cut
    stream = stream_of(lengths)
    for place, start, end in scored(scoring_windows(stream, window, stride, context)):
        begin = 0
        if context == "document":  # at the end-of-text token before it
            begin = max(other for other in range(place) if stream.owners[other] == NOWHERE)
        assert begin <= start < place <= end + 1
        assert place - start >= min(place - begin, window - stride + 1)


@given(LENGTHS, CUTS, CONTEXTS)
def test_no_window_reads_more_than_it_may_or_scores_nothing(
    lengths: Sequence[int], cut: tuple[int, int], context: Context
) -> None:
    windows = scoring_windows(stream_of(lengths), *cut, context)
    assert 1 <= windows.lengths.min() <= windows.lengths.max() <= cut[0]
    assert windows.weights.min() > 0


@given(LENGTHS, CUTS)
def test_with_the_context_of_its_document_no_token_sees_another_one(
    lengths: Sequence[int], cut: tuple[int, int]
) -> None:
    stream = stream_of(lengths)
    for place, start, end in scored(scoring_windows(stream, *cut, "document")):
        read = stream.owners[start : end + 1]
        assert set(read[read != NOWHERE]) <= {stream.owners[place]}


@given(LENGTHS, CUTS, CONTEXTS)
def test_what_windows_weigh_is_the_tokens_that_they_score(
    lengths: Sequence[int], cut: tuple[int, int], context: Context
) -> None:
    for windows in (scoring_windows(stream_of(lengths), *cut, context), training_blocks(stream_of(lengths), cut[0])):
        alone = [len(scored(windows.take(np.array([number])))) for number in range(len(windows))]
        assert windows.weights.tolist() == alone
        assert windows.tokens == sum(alone)


def spans(windows: Windows) -> list[tuple[int, int, int]]:
    return list(zip(windows.starts.tolist(), windows.firsts.tolist(), windows.ends.tolist(), strict=True))


@pytest.mark.parametrize(
    ("length", "stride", "expected"),
    [
        (1, 2, [(0, 1, 1)]),
        (3, 2, [(0, 1, 3)]),
        (4, 2, [(0, 1, 4)]),  # of exactly the window's size: the last token is predicted, not read
        (5, 2, [(0, 1, 4), (1, 5, 5)]),  # the last window moves back, so that it is full
        (7, 2, [(0, 1, 4), (2, 5, 6), (3, 7, 7)]),
        (8, 4, [(0, 1, 4), (4, 5, 8)]),  # windows that touch: the first token of one has the token before it alone
        (6, 1, [(0, 1, 4), (1, 5, 5), (2, 6, 6)]),
    ],
)
def test_a_window_of_four_tokens_slides_over_one_document_like_this(
    length: int, stride: int, expected: list[tuple[int, int, int]]
) -> None:
    assert spans(scoring_windows(stream_of([length]), 4, stride, "document")) == expected


def test_a_document_without_tokens_is_passed_over() -> None:
    assert spans(scoring_windows(stream_of([0, 2, 0]), 4, 2, "document")) == [(1, 2, 3)]
    assert scoring_windows(stream_of([0, 2, 0]), 4, 2, "corpus").tokens == 2


# In training


@given(LENGTHS, st.integers(1, 12))
def test_blocks_predict_every_token_but_the_first_once_less_a_dropped_tail(lengths: Sequence[int], size: int) -> None:
    stream = stream_of(lengths)
    blocks = training_blocks(stream, size)
    found = [place for place, _, _ in scored(blocks)]
    assert found == list(range(1, len(found) + 1))
    assert 0 <= len(stream.tokens) - 1 - len(found) < size
    assert blocks.tokens == len(found)


@given(LENGTHS, st.integers(1, 12))
def test_blocks_are_of_one_length_so_that_nothing_is_padded(lengths: Sequence[int], size: int) -> None:
    blocks = training_blocks(stream_of(lengths), size)
    assert blocks.lengths.tolist() == blocks.weights.tolist() == [size] * len(blocks)


# Documents as one stream of tokens


def test_an_end_of_text_token_stands_before_each_document_and_after_the_last(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    stream = make_stream(documents("ab", "c"), tokenizer)
    assert tokenizer.decode(stream.tokens.tolist()) == "<|endoftext|>ab<|endoftext|>c<|endoftext|>"
    assert stream.owners.tolist() == [NOWHERE, 0, 0, NOWHERE, 1, NOWHERE]
    assert stream.ids == ("test/0", "test/1")


def test_what_a_tokenizer_adds_of_its_own_is_left_out(tokenizer: PreTrainedTokenizerBase) -> None:
    from tokenizers.processors import TemplateProcessing

    adding = byte_tokenizer()
    adding.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    assert len(adding("ab")["input_ids"]) == 4
    texts = documents("ab", "c")
    assert np.array_equal(make_stream(texts, adding).tokens, make_stream(texts, tokenizer).tokens)


def test_an_end_of_text_token_inside_a_document_is_part_of_it(tokenizer: PreTrainedTokenizerBase) -> None:
    stream = make_stream(documents("a<|endoftext|>b"), tokenizer)
    assert stream.owners.tolist() == [NOWHERE, 0, 0, 0, NOWHERE]


def test_bytes_are_those_of_utf_8(tokenizer: PreTrainedTokenizerBase) -> None:
    assert make_stream(documents("naïve", "中文", "😀"), tokenizer).bytes == (6, 6, 4)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("one two", "two"),
        ("one two\n", "two"),
        ("one  two \t \n", "two"),
        ("one two.", "two."),
        ("the café", "café"),
        ("the 中文 ", "中文"),
        ("to\nbe", "be"),
    ],
)
def test_the_last_word_is_found_without_the_blanks_behind_it(
    tokenizer: PreTrainedTokenizerBase, text: str, word: str
) -> None:
    stream = make_stream(documents("before it", text), tokenizer, last_word=True)
    assert stream.last_words is not None
    begin, end = stream.last_words[1]
    assert tokenizer.decode(stream.tokens[begin:end].tolist()) == word
    assert set(stream.owners[begin:end]) == {1}


def test_documents_tokenised_one_at_a_time_make_the_same_stream(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = documents("one two", "three", "four five six")
    at_once = make_stream(texts, tokenizer, last_word=True)
    monkeypatch.setattr("loralab.tasks.encoding.AT_ONCE", 1)
    one_by_one = make_stream(texts, tokenizer, last_word=True)
    assert one_by_one.tokens.tolist() == at_once.tokens.tolist()
    assert one_by_one.owners.tolist() == at_once.owners.tolist()
    assert one_by_one.last_words == at_once.last_words


def test_a_last_word_that_no_token_holds_is_told() -> None:
    from tokenizers import normalizers

    losing = byte_tokenizer()
    losing.backend_tokenizer.normalizer = normalizers.Replace("two", "")
    with pytest.raises(UserError, match="test/0: the model's tokenizer makes no token of its last word, 'two'"):
        make_stream(documents("one two"), losing, last_word=True)
