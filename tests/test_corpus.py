"""Documents are the same from whatever form they are read, and are split and sampled by the seed alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import write_jsonl
from data_files import FORMS, Form
from loralab.data.corpus import Corpus
from loralab.data.documents import CorpusData, Documents
from loralab.data.rows import Flaws
from loralab.data.sampling import RowCounts
from loralab.data.splits import SplitNames


def article(number: int) -> str:
    return f" = Article {number} = \n \n First paragraph of {number} , 1 @-@ 2 . \n Second . \n "


def wikitext(*numbers: int) -> str:
    """What WikiText's files hold: a blank line, then the articles one after the other."""
    return " \n" + "".join(f"{article(number)}\n" for number in numbers)


def written(folder: Path, **files: str) -> Corpus:
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8", newline="")
    return Corpus(source=str(folder))


def numbers(documents: Documents) -> list[int]:
    """The numbers of the articles, in their order."""
    return [int(text.split()[2]) for text in documents.texts]


@pytest.fixture
def wiki(tmp_path: Path) -> Corpus:
    return written(tmp_path, train=wikitext(*range(40)), validation=wikitext(50, 51), test=wikitext(60, 61, 62))


def test_the_articles_of_split_files_are_the_documents(wiki: Corpus) -> None:
    read = wiki.read()
    assert read.test == Documents(("test/1", "test/6", "test/11"), (article(60), article(61), article(62)))
    assert [numbers(split) for split in (read.train, read.validation)] == [list(range(40)), [50, 51]]
    assert (read.label_names, read.flaws) == ((), Flaws())


def test_joined_documents_are_the_file_again(wiki: Corpus) -> None:
    assert " \n" + "\n".join(wiki.read().train.texts) + "\n" == wikitext(*range(40))


def test_line_ends_of_windows_make_no_difference(wiki: Corpus, tmp_path: Path) -> None:
    with_others = tmp_path / "windows"
    with_others.mkdir()
    texts = {"train": wikitext(*range(40)), "validation": wikitext(50, 51), "test": wikitext(60, 61, 62)}
    windows = written(with_others, **{name: text.replace("\n", "\r\n") for name, text in texts.items()})
    assert windows.read().sha256 == wiki.read().sha256


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_lines_as_rows_of_any_form_are_joined_to_articles(form: Form, tmp_path: Path) -> None:
    ending, write = form
    lines = wikitext(*range(10)).removesuffix("\n").split("\n")
    write(tmp_path / f"wiki{ending}", [{"number": place, "text": line} for place, line in enumerate(lines)])
    read = Corpus(source=str(tmp_path / f"wiki{ending}"), test_share=0.3).read()
    assert sorted(numbers(read.train) + numbers(read.validation) + numbers(read.test)) == list(range(10))
    assert read.test.texts == tuple(article(number) for number in numbers(read.test))


def test_rows_are_documents_where_no_line_is_a_heading(tmp_path: Path) -> None:
    rows = [{"body": f"Text {i}.\n\nMore of {i}.", "label": "unread"} for i in range(20)]
    write_jsonl(tmp_path / "train.jsonl", [*rows, {"body": " "}, {"body": None}])
    write_jsonl(tmp_path / "test.jsonl", rows[:4])
    read = Corpus(source=str(tmp_path), text="body").read()
    assert read.test == Documents(
        tuple(f"test/{i}" for i in range(4)), tuple(f"Text {i}.\n\nMore of {i}." for i in range(4))
    )
    assert (len(read.train), len(read.validation)) == (16, 4)
    shared, shared_validation = (
        sum(text in read.test.texts for text in split.texts) for split in (read.train, read.validation)
    )
    assert shared + shared_validation == 4
    assert read.flaws == Flaws(shared=shared, shared_validation=shared_validation, without_text={"train": 2})


def test_rows_may_be_asked_for_where_there_are_articles(wiki: Corpus) -> None:
    read = wiki.model_copy(update={"documents": "rows"}).read()
    assert read.validation.texts[:3] == (" = Article 50 = ", " First paragraph of 50 , 1 @-@ 2 . ", " Second . ")
    assert read.validation.ids[:3] == ("validation/1", "validation/3", "validation/4")
    assert read.flaws.without_text == {"train": 81, "validation": 5, "test": 7}


def test_a_single_text_is_cut_at_its_blank_lines(tmp_path: Path) -> None:
    written(tmp_path, book="\n".join(f"Paragraph {i},\nsecond line.\n" for i in range(20)))
    for source in (tmp_path / "book.txt", tmp_path):  # alone in its folder, it is no document but a file of them
        read = Corpus(source=str(source)).read()
        assert (len(read.train), len(read.validation), len(read.test)) == (13, 3, 4)
        assert (
            dict(zip(read.train.ids, read.train.texts, strict=True)).items()
            <= {f"book/{i}": f"Paragraph {i},\nsecond line." for i in range(20)}.items()
        )


def test_a_text_without_blank_lines_has_a_document_a_line(tmp_path: Path) -> None:
    read = written(tmp_path, train="one\ntwo\nthree\nfour\nfive\n", test="six\nseven\n").read()
    assert read.test.texts == ("six", "seven")
    assert len(read.train) + len(read.validation) == 5


def test_each_file_of_a_folder_is_a_document(tmp_path: Path) -> None:
    read = written(tmp_path, README="About", **{f"book {i}": f"One.\r\n\r\nTwo of {i}.\n" for i in range(10)}).read()
    found = [*read.train.ids, *read.validation.ids, *read.test.ids]
    assert sorted(found) == [f"book {i}.txt" for i in range(10)]
    assert read.test.texts[0] == f"One.\n\nTwo of {read.test.ids[0][5]}.\n"


def test_each_file_of_a_split_s_folder_is_a_document(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("valid", 2), ("test", 3)):
        (tmp_path / split).mkdir()
        written(tmp_path / split, **{f"{i}": f"One.\n\nTwo of {split} {i}." for i in range(count)}, empty="")
    read = Corpus(source=str(tmp_path)).read()
    assert [len(split) for split in (read.train, read.validation, read.test)] == [10, 2, 3]
    assert read.test.ids == ("test/0.txt", "test/1.txt", "test/2.txt")
    assert read.validation.texts[1] == "One.\n\nTwo of valid 1."
    assert read.flaws.without_text == {"train": 1, "validation": 1, "test": 1}


def test_texts_in_folders_are_documents_whatever_their_class(tmp_path: Path) -> None:
    for folder in ("train/pos", "train/unsup", "test/neg"):
        (tmp_path / folder).mkdir(parents=True)
        written(tmp_path / folder, **{f"{i}": f"Text {i} in {folder}" for i in range(5)})
    written(tmp_path / "train", urls="http://localhost")  # beside the folders, as aclImdb has it
    read = Corpus(source=str(tmp_path)).read()
    assert {name.rpartition("/")[0] for name in (*read.train.ids, *read.validation.ids)} == {"train/pos", "train/unsup"}
    assert read.test.ids[0] == "test/neg/0.txt"


def test_texts_beside_tables_describe_them(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", [{"text": f"text {i}"} for i in range(10)])
    read = written(tmp_path, sources="Written by hand.").read()
    assert {name.partition("/")[0] for name in (*read.train.ids, *read.validation.ids, *read.test.ids)} == {"corpus"}


def test_splits_may_have_names_of_their_own(tmp_path: Path) -> None:
    corpus = written(tmp_path, train_part=wikitext(*range(10)), validation=wikitext(20), test=wikitext(30, 31))
    read = corpus.model_copy(update={"splits": SplitNames(train="train_part")}).read()
    assert [len(split) for split in (read.train, read.validation, read.test)] == [10, 1, 2]


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_hub_has_a_line_a_row(monkeypatch: pytest.MonkeyPatch, wiki: Corpus, end: str) -> None:
    import datasets

    found = {}
    for name in ("train", "validation", "test"):
        lines = Path(wiki.source, f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        found[name] = datasets.Dataset.from_dict({"text": [line + end for line in lines]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *asked: {("owner/wikitext", "raw"): found}[asked])
    corpus = Corpus(source="owner/wikitext", configuration="raw")
    assert corpus.is_on_hub()
    assert corpus.read().sha256 == wiki.read().sha256


def test_the_embedded_corpus_is_read_without_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    from loralab.data import docstrings

    rows = {split: [{"text": f"{split} {i}", "label": "numpy"} for i in range(3)] for split in docstrings.ROWS}
    monkeypatch.setattr(docstrings, "read", lambda: rows)
    assert Corpus(source=docstrings.SOURCE).read().test.texts == ("test 0", "test 1", "test 2")


def test_a_sample_keeps_ids_and_order_and_is_contained_in_a_larger_one(wiki: Corpus) -> None:
    small = wiki.model_copy(update={"rows": RowCounts(train=5, test=2)}).read()
    large = wiki.model_copy(update={"rows": RowCounts(train=20)}).read()
    assert len(small.train) == 5
    assert set(small.train.ids) < set(large.train.ids) < set(wiki.read().train.ids)
    for split in (small.train, small.test, large.train):
        assert numbers(split) == sorted(numbers(split))
    assert numbers(small.train) != list(range(5))
    assert set(zip(small.train.ids, small.train.texts, strict=True)) < set(
        zip(large.train.ids, large.train.texts, strict=True)
    )


def test_what_is_held_out_depends_on_the_seed_and_not_on_the_sample(tmp_path: Path) -> None:
    corpus = Corpus(source=str(written(tmp_path, wiki=wikitext(*range(50))).source))
    whole, some = corpus.read(), corpus.model_copy(update={"rows": RowCounts(train=8, test=5)}).read()
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (32, 8, 10)
    assert set(some.test.ids) < set(whole.test.ids)
    assert not set(some.train.ids) & {*whole.test.ids, *some.validation.ids}
    assert whole.sha256 == corpus.read().sha256
    assert whole.test.ids != corpus.model_copy(update={"seed": 1}).read().test.ids


def test_documents_that_train_and_test_share_are_counted_and_dropped_where_asked(tmp_path: Path) -> None:
    corpus = written(tmp_path, train=wikitext(*range(10)), validation=wikitext(20), test=wikitext(3, 4))
    dropped = corpus.model_copy(update={"drop_shared": True}).read()
    assert corpus.read().flaws == Flaws(shared=2)
    assert dropped.flaws == Flaws(dropped=2)
    assert numbers(dropped.train) == [0, 1, 2, 5, 6, 7, 8, 9]


def test_markup_is_cleaned_where_asked(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test.jsonl", [{"text": "one<br />two &amp; <unk>"}, {"text": "<p>"}, {"text": "3"}])
    write_jsonl(tmp_path / "train.jsonl", [{"text": f"text {i}"} for i in range(10)])
    read = Corpus(source=str(tmp_path), clean_markup=True).read()
    assert sorted(read.test.texts) == ["3", "one\ntwo & <unk>"]
    assert read.flaws.without_text == {"test": 1}


def test_the_hash_sees_every_text_id_split_and_name() -> None:
    one, other, renamed = Documents(("a",), ("x",)), Documents(("a",), ("y",)), Documents(("b",), ("x",))
    data = CorpusData(one, one, one, others={}, flaws=Flaws())
    changed: list[dict[str, Any]] = [
        *({split: documents} for split in ("train", "validation", "test") for documents in (other, renamed)),
        *({"others": {name: documents}} for name in ("lambada", "ptb") for documents in (one, other, renamed)),
    ]
    assert len({data.sha256, *(replace(data, **change).sha256 for change in changed)}) == 13
    assert replace(data, others={"a": one, "b": other}).sha256 == replace(data, others={"b": other, "a": one}).sha256


def test_a_source_alone_stands_for_a_corpus_and_survives_its_file() -> None:
    corpus = Corpus.model_validate("owner/name")
    assert (corpus.source, corpus.documents, corpus.context) == ("owner/name", "auto", "corpus")
    assert Corpus.model_validate(json.loads(corpus.model_dump_json())) == corpus
    assert not Corpus(source="book.txt").is_on_hub()
