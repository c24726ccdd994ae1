"""Further sets to score on: one split of a source, its documents in order, sampled by the seed alone."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from conftest import write_jsonl
from loralab.data.corpus import EvaluationSet
from loralab.errors import MistakesError, UserError

PASSAGES = [{"text": f"Passage {i} ends in this word"} for i in range(30)]


@pytest.fixture
def passages(tmp_path: Path) -> EvaluationSet:
    write_jsonl(tmp_path / "test.jsonl", PASSAGES)
    write_jsonl(tmp_path / "dev.jsonl", PASSAGES[:3])
    return EvaluationSet(source=str(tmp_path), last_word=True)


def test_the_split_of_that_name_is_scored(passages: EvaluationSet) -> None:
    read = passages.read()
    assert read.ids == tuple(f"test/{i}" for i in range(30))
    assert read.texts == tuple(row["text"] for row in PASSAGES)
    assert passages.model_copy(update={"split": "validation"}).read().ids == ("dev/0", "dev/1", "dev/2")


def test_a_source_with_a_single_split_is_scored_on_that(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "passages.jsonl", PASSAGES)
    for source in (tmp_path / "passages.jsonl", tmp_path):
        assert EvaluationSet(source=str(source)).read().ids[0] == "passages/0"


def test_articles_are_scored_whole(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text(" \n = One = \n \n Text . \n \n = Two = \n \n Text . \n", encoding="utf-8")
    read = EvaluationSet(source=str(tmp_path)).read()
    assert read.texts == (" = One = \n \n Text . \n ", " = Two = \n \n Text . ")
    assert len(EvaluationSet(source=str(tmp_path), documents="rows").read()) == 4


def test_a_sample_keeps_the_order_and_is_contained_in_a_larger_one(passages: EvaluationSet) -> None:
    few, more = (passages.model_copy(update={"rows": rows}).read() for rows in (5, 15))
    places = [int(name.partition("/")[2]) for name in more.ids]
    assert (len(few), len(more)) == (5, 15)
    assert set(few.ids) < set(more.ids)
    assert places == sorted(places) != list(range(15))
    assert passages.model_copy(update={"rows": 5, "seed": 1}).read().ids != few.ids


def test_empty_documents_are_left_out_and_markup_is_cleaned_where_asked(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test.jsonl", [{"text": "one<br/>two"}, {"text": "<br/>"}, {"text": ""}, {"text": "3"}])
    assert EvaluationSet(source=str(tmp_path), clean_markup=True).read().texts == ("one\ntwo", "3")


def test_a_set_from_the_hub_is_a_split_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = {name: [{"passage": f"{name} {i}"} for i in (1, 2)] for name in ("train", "test")}
    found = {name: datasets.Dataset.from_list(those) for name, those in rows.items()}
    monkeypatch.setattr(datasets, "load_dataset", lambda *asked: {("owner/lambada", "en"): found}[asked])
    asked = EvaluationSet(source="owner/lambada", configuration="en", text="passage")
    assert asked.is_on_hub()
    assert asked.read().texts == ("test 1", "test 2")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"split": "gold"}, "split: there is no split 'gold'; there are dev, test"),
        ({"rows": 31}, "rows: 31 documents asked for, but there are 30"),
        ({"text": "body"}, r"no column 'body' \(columns there: text\); name the right one with text$"),
        ({"documents": "articles"}, "test: no line is an article's heading"),
    ],
)
def test_what_the_source_lacks_is_said(passages: EvaluationSet, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(MistakesError, match=expected) as raised:
        passages.model_copy(update=changes).read()
    assert str(raised.value).startswith(f"{passages.source} has 1 mistake")


def test_a_last_word_needs_words_before_it(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test.jsonl", [*PASSAGES, {"text": " alone\n"}])
    with pytest.raises(UserError, match="test/30: there is no word before the last one to predict it from"):
        EvaluationSet(source=str(tmp_path), last_word=True).read()
    assert len(EvaluationSet(source=str(tmp_path)).read()) == 31


def test_last_words_are_asked_of_each_document_alone() -> None:
    with pytest.raises(ValidationError, match="last_word is asked of each document alone"):
        EvaluationSet(source="lambada", last_word=True, context="corpus")


def test_a_source_alone_stands_for_a_set() -> None:
    assert EvaluationSet.model_validate("owner/name") == EvaluationSet(source="owner/name", context="document")
