"""The embedded corpus, as the quickstart reads it."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from loralab.data import docstrings
from loralab.data.docstrings import clean
from loralab.errors import UserError

Corpus = dict[str, list[Mapping[str, Any]]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORALAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        docstrings.read()
        return docstrings.read()  # the same records, now from the cache


def test_splits_are_balanced_and_test_is_large_enough(corpus: Corpus) -> None:
    for split, rows in corpus.items():
        counts = Counter(row["label"] for row in rows)
        assert set(counts.values()) == {docstrings.ROWS[split] // 5}
    assert len(corpus["test"]) >= 1000


def test_no_text_stands_twice(corpus: Corpus) -> None:
    texts = [row["text"] for rows in corpus.values() for row in rows]
    assert len(texts) == len(set(texts))


def test_no_text_names_its_library(corpus: Corpus) -> None:
    names = re.compile(r"(numpy|scipy|sklearn|scikit|pandas|pytorch|torch)", re.IGNORECASE)
    assert not [row for rows in corpus.values() for row in rows if names.search(row["text"])]


def test_the_corpus_is_the_same_each_time_it_is_built(corpus: Corpus) -> None:
    assert docstrings._build() == corpus


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        (
            "Returns a NumPy array, see :func:`numpy.norm`, that\nholds the norms of all rows one by one in order.",
            "Returns a array, see, that holds the norms of all rows one by one in order.",
        ),
        (">>> a = 1 and then some more words that would make this long enough to keep.", None),
        ("Too short to say much.", None),
        ("=====  =====\nname   what\n=====  =====", None),
        ("axis : int, optional, default one, the axis along which the thing is reduced to a scalar.", None),
    ],
)
def test_only_prose_that_gives_nothing_away_is_kept(paragraph: str, expected: str | None) -> None:
    assert clean(paragraph) == expected


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(docstrings.LIBRARIES, "no_such_library", "no-such-library")
    with pytest.raises(UserError, match=r"needs no-such-library; run: pip install 'loralab\[quickstart\]'"):
        docstrings.read()


def test_a_library_with_too_little_prose_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "LIBRARIES", {"numpy": "numpy"})
    monkeypatch.setattr(docstrings, "WORDS", range(90, 91))
    with pytest.raises(UserError, match="this version of numpy has too few paragraphs"):
        docstrings._build()
