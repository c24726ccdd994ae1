"""A corpus that can't be used is refused with the place and the way out, all mistakes at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_files import written
from loralab.data.corpus import Corpus
from loralab.errors import MistakesError, UserError

ARTICLE = " = One = \n \n Text . \n"
LINES = "\n".join(f"line {i}" for i in range(20))

# Files by name, settings besides `source`, and what the message says.
REFUSED: dict[str, tuple[dict[str, str | bytes], dict[str, Any], str]] = {
    "an empty text": ({"train.txt": " \n"}, {}, r"train\.txt is empty"),
    "an empty folder": ({}, {}, r"it holds nothing\); files that end in .*, \.txt are, and folders of \.txt files; "),
    "a form that isn't read": ({"a.docx": "x"}, {}, r"it holds a\.docx"),
    "a split by another name": (
        {"train_part.txt": LINES, "rest.txt": LINES},
        {},
        r"'train_part' is the name of a split.*data\.splits\.train \(there are rest, train_part\)",
    ),
    "no split to train on": (
        {"train_part.txt": LINES, "validation.txt": LINES, "test.txt": LINES},
        {},
        r"data\.splits\.train: there is no split 'train'; there are test, train_part, validation",
    ),
    "a text and a table for a split": (
        {"train.txt": LINES, "train.jsonl": "{}"},
        {},
        r"'train' has several files, train\.jsonl, train\.txt",
    ),
    "half of a split": ({"train-00000-of-00002.txt": LINES}, {}, "'train' has 1 of its 2 parts"),
    "Latin-1": ({"train.txt": LINES.encode() + b"\n\xe9"}, {}, r"train\.txt, line 21: byte \d+ \(0xe9\) is not UTF-8"),
    "Latin-1 in one of many": ({"a.txt": "x", "b.txt": b"\xe9"}, {}, r"b\.txt, line 1: byte 1"),
    "one document for all splits": (
        {"train.txt": ARTICLE},
        {},
        "test: no documents are left for it; give a folder with train.txt, validation.txt and test.txt, "
        "or cut smaller ones: `documents: rows`",
    ),
    "one document to be tested on": (
        {"train.txt": LINES, "test.txt": ARTICLE},
        {},
        "test: one of its documents doesn't tell how others would come out; use at least 2",
    ),
    "articles without headings": (
        {"train.txt": LINES, "test.txt": ARTICLE},
        {"documents": "articles"},
        "train: no line is an article's heading, such as ' = Title = '; say `documents: rows`",
    ),
    "more documents than there are": (
        {"train.txt": LINES, "test.txt": ARTICLE},
        {"rows": {"train": 17, "test": 2}},
        r"train: 17 documents asked for, but there are 16\n  data\.rows\.test: 2 documents asked for, but there are 1",
    ),
    "no column with text": (
        {"train.jsonl": '{"body": "x"}\n'},
        {},
        r"no column 'text' \(columns there: body\); name .* text",
    ),
    "a text that is a list": (
        {"train.jsonl": '{"text": "x"}\n{"text": ["x"]}'},
        {},
        r"train, row 2: \['x'\] is not a text",
    ),
    "no texts at all": ({"train.jsonl": '{"text": ""}\n{"text": null}'}, {}, "train: no row has text in 'text'"),
    "no rows": ({"train.csv": "text\n"}, {}, "train: no rows"),
    "files without text": ({"train/a.txt": "", "train/b.txt": "\n"}, {}, "train: no row has text"),
}


@pytest.mark.parametrize(("files", "changes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_corpus_that_can_not_be_used_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, str | bytes], changes: dict[str, Any], expected: str
) -> None:
    corpus = Corpus.model_validate({"source": str(written(tmp_path, files)), **changes})
    with pytest.raises(UserError, match=f"(?s){expected}"):
        corpus.read()


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"train.txt": b"\xff", "validation.jsonl": "{x\n[1]\n", "test.txt": ""}, 4),  # in the files
        ({"train.jsonl": '{"text": [1]}', "validation.jsonl": '{"a": 1}', "test.jsonl": '{"text": " "}'}, 3),  # in rows
    ],
)
def test_all_mistakes_are_listed_at_once(tmp_path: Path, files: dict[str, str | bytes], count: int) -> None:
    with pytest.raises(MistakesError) as raised:
        Corpus(source=str(written(tmp_path, files))).read()
    assert len(raised.value.mistakes) == count


def test_of_many_rows_that_are_no_texts_the_first_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": [i]}) + "\n" for i in range(100))
    with pytest.raises(UserError, match=r"train, row 5: \[4\] is not a text\n  and 95 more rows of train$"):
        Corpus(source=str(written(tmp_path, {"train.jsonl": rows}))).read()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text": ["premise", "hypothesis"]}, "valid string"),
        ({"documents": "paragraphs"}, "'auto', 'articles' or 'rows'"),
        ({"label": "label"}, "not permitted"),
        ({"splits": {"train": "test"}}, "train is 'test', which is scored as well"),
        ({"test_share": 1}, "less than 1"),
        ({"rows": {"train": 0}}, "greater than 0"),
    ],
)
def test_settings_that_no_corpus_has_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Corpus.model_validate({"source": "book.txt", **changes})


def test_what_is_neither_here_nor_on_the_hub_says_so() -> None:
    with pytest.raises(UserError, match=r"there is no file or folder 'no-such\.txt'"):
        Corpus(source="no-such.txt").read()
    with pytest.raises(UserError, match="neither a folder or file here nor a data set that the hub gave"):
        Corpus(source="no-such/data-set").read()
