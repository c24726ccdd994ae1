"""Markup is cleaned where asked; texts that train and test share, and rows without text, are counted."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import write_jsonl
from data_files import numbered_rows
from loralab.data.rows import Text
from loralab.data.sampling import RowCounts
from loralab.data.sources import Data
from loralab.data.texts import as_text, comparable, without_markup


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("one<br />two<br/>three<BR>four</br>five<br  clear='all'>six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("<p>A <b>bold</b> <i>film</i></p>", "A bold film"),
        ('a <a href="x.html">link</a> &amp; more', "a link & more"),
        ("&lt;b&gt; stays, as do <unk>, <3 and x<y", "<b> stays, as do <unk>, <3 and x<y"),
        ("caf&eacute; &#39;quoted&#39;", "café 'quoted'"),
    ],
)
def test_markup_becomes_what_it_stands_for(text: str, clean: str) -> None:
    assert without_markup(text) == clean


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("a b", "a b"),
        (7, "7"),
        (2.5, "2.5"),
        (None, ""),
        (float("nan"), ""),
        ("cut \ud83d", "cut �"),
        ("\ud83d\ude00", "😀"),
    ],
)
def test_a_cell_becomes_a_text_that_a_tokenizer_takes(cell: Any, text: str) -> None:
    assert as_text(cell) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [("A  text\n", "a text"), (("A", "b "), ("a", "B")), ("STRASSE", "straße")],
)
def test_case_and_spaces_do_not_make_texts_different(one: Text, other: Text) -> None:
    assert comparable(one) == comparable(other)


def test_both_texts_of_a_pair_must_agree() -> None:
    assert comparable(("a", "b")) != comparable(("a", "c"))


@pytest.fixture
def shared(tmp_path: Path) -> Data:
    """Twenty texts to test on, of which train repeats five, in other spelling."""
    test = numbered_rows(["a", "b"], 20)
    train = [{"text": f"own {i}", "label": "ab"[i % 2]} for i in range(40)]
    train += [{"text": f" Text\t{i}<br/>", "label": "ab"[i % 2]} for i in range(5)]
    write_jsonl(tmp_path / "train.jsonl", train)
    write_jsonl(tmp_path / "test.jsonl", test)
    return Data(source=str(tmp_path), clean_markup=True)


def test_texts_that_train_and_test_share_are_counted(shared: Data) -> None:
    read = shared.read()
    in_train = sum(str(text).startswith(" Text") for text in read.train.texts)
    assert (read.flaws.shared, read.flaws.dropped) == (in_train, 0)
    assert in_train > 0


def test_only_texts_in_use_are_counted(shared: Data) -> None:
    few = shared.model_copy(update={"rows": RowCounts(test=2)}).read()
    tested = {comparable(text) for text in few.test.texts}
    assert few.flaws.shared == sum(comparable(text) in tested for text in few.train.texts)


def test_shared_texts_are_dropped_from_train_where_asked(shared: Data) -> None:
    read = shared.model_copy(update={"drop_shared": True}).read()
    assert (read.flaws.shared, read.flaws.dropped) == (0, 5)
    assert all(str(text).startswith("own") for text in (*read.train.texts, *read.validation.texts))
    assert (len(read.train), len(read.validation), len(read.test)) == (32, 8, 20)


def test_a_validation_split_that_shares_texts_with_test_is_told_and_loses_them_where_asked(tmp_path: Path) -> None:
    rows = {"train": range(20), "validation": range(20, 30), "test": range(26, 40)}
    for split, numbers in rows.items():
        write_jsonl(tmp_path / f"{split}.jsonl", [{"text": f"text {row}", "label": row % 2} for row in numbers])
    read = Data(source=str(tmp_path)).read()
    assert (read.flaws.shared, read.flaws.shared_validation, read.flaws.dropped) == (0, 4, 0)
    read = Data(source=str(tmp_path), drop_shared=True).read()
    assert (read.flaws.shared_validation, read.flaws.dropped, len(read.validation)) == (0, 4, 6)


def test_markup_counts_until_it_is_cleaned(shared: Data) -> None:
    assert shared.model_copy(update={"clean_markup": False}).read().flaws.shared == 0


def test_rows_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    blank = [{"text": text, "label": "a"} for text in (None, "", " \n", "\u00a0")] + [{"label": "a"}]
    write_jsonl(tmp_path / "train.jsonl", [*blank, *numbered_rows(["a", "b"])])
    write_jsonl(tmp_path / "test.jsonl", [*numbered_rows(["a", "b"]), *blank[:2]])
    read = Data(source=str(tmp_path)).read()
    assert read.flaws.without_text == {"train": 5, "test": 2}
    assert len(read.train) + len(read.validation) == 20
    assert {int(name.partition("/")[2]) for name in (*read.train.ids, *read.validation.ids)} == set(range(5, 25))


@pytest.mark.parametrize("gap", [None, "", " ", -1, -1.0, "-1", " -1 "])
def test_rows_without_a_label_are_left_out_where_asked_and_counted(gap: object, tmp_path: Path) -> None:
    gaps = [{"text": f"unsure {place}", "label": gap} for place in range(3)]
    rows = numbered_rows([0, 1])
    write_jsonl(tmp_path / "train.jsonl", [*gaps, *rows, {"text": " ", "label": gap}])
    write_jsonl(tmp_path / "test.jsonl", [*rows, *gaps[:1]])
    read = Data(source=str(tmp_path), drop_unlabelled=True, label_names=("no", "yes")).read()
    assert (read.flaws.without_label, read.flaws.without_text) == ({"train": 3, "test": 1}, {"train": 1})
    assert len(read.train) + len(read.validation) == 20


def test_minus_one_is_a_class_where_no_number_has_a_name(tmp_path: Path) -> None:
    rows = [*numbered_rows([-1, 0, 1]), {"text": "unsure", "label": None}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    read = Data(source=str(tmp_path / "rows.jsonl"), drop_unlabelled=True).read()
    assert read.label_names == ("-1", "0", "1")
    assert read.flaws.without_label == {"train": 1}


def test_a_text_that_is_nothing_but_markup_is_none(tmp_path: Path) -> None:
    rows = [*numbered_rows(["a", "b"]), {"text": "<br /><p>", "label": "a"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    data = Data(source=str(tmp_path / "rows.jsonl"))
    assert data.read().flaws.without_text == {}
    assert data.model_copy(update={"clean_markup": True}).read().flaws.without_text == {"train": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names of files")
def test_a_file_whose_name_is_no_text_is_read_and_named(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        (tmp_path / label).mkdir()
        for place in range(30):
            (tmp_path / label / os.fsdecode(b"caf\xe9%d.txt" % place)).write_text(f"{label} {place}", encoding="utf-8")
    found = Data(source=str(tmp_path)).read()
    assert any("caf\\xe9" in name for name in found.train.ids)
    assert "".join(found.train.ids).encode()
