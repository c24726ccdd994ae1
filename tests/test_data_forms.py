"""The same rows are read from whatever form they lie in."""

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import sentences, write_jsonl
from data_files import FORMS, Form, Rows, numbered_rows, write_parquet
from loralab.data.rows import LabelledData
from loralab.data.sources import Data
from loralab.data.splits import SplitNames

every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


def rows_read(data: LabelledData) -> set[tuple[str, Any, str]]:
    return {
        (name, text, data.label_names[label])
        for split in (data.train, data.validation, data.test)
        for name, text, label in zip(split.ids, split.texts, split.labels, strict=True)
    }


@every_form
def test_a_single_file_is_read_and_split(form: Form, tmp_path: Path) -> None:
    ending, write = form
    rows = numbered_rows(["sad", "glad"], 50)
    write(tmp_path / f"reviews{ending}", rows)
    read = Data(source=str(tmp_path / f"reviews{ending}")).read()
    assert rows_read(read) == {(f"reviews/{i}", row["text"], row["label"]) for i, row in enumerate(rows)}
    assert (len(read.train), len(read.validation), len(read.test)) == (32, 8, 10)
    assert [read.test.labels.count(label) for label in (0, 1)] == [5, 5]


@every_form
def test_a_folder_has_a_file_for_each_split(form: Form, tmp_path: Path) -> None:
    ending, write = form
    for split, labels in (("train", "ab"), ("dev", "ba"), ("test", "bb")):
        write(tmp_path / f"{split}{ending}", numbered_rows(list(labels)))
    read = Data(source=str(tmp_path)).read()
    assert [len(split) for split in (read.train, read.validation, read.test)] == [20, 20, 20]
    assert set(read.test.labels) == {1}
    assert all(name.startswith("dev/") for name in read.validation.ids)


# What a spreadsheet or a program may put into a text, and the delimiters and quotes of the forms themselves.
TEXTS = st.text(st.sampled_from("abc äß€😀\"',;|\t\n\r\u2028\x85{}[]<>&\\"), min_size=1, max_size=12).filter(
    lambda text: not text.isspace()
)
LABELS = st.sampled_from([["0", "1", "10"], ["yes", "no", "it depends"], ["True", "False"], [3, 20, 100]])


@settings(max_examples=15, deadline=None)
@given(st.lists(TEXTS, min_size=12, max_size=30), LABELS)
def test_every_form_gives_the_same_texts_and_labels(texts: list[str], labels: list[Any]) -> None:
    rows = [{"text": text, "label": labels[i % len(labels)]} for i, text in enumerate(texts)]
    found = {}
    for name, (ending, write) in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / f"rows{ending}", rows)
            found[name] = Data(source=f"{folder}/rows{ending}").read()
    for read in found.values():
        assert read.sha256 == found["JSON lines"].sha256
        assert read.label_names == found["JSON lines"].label_names


def test_true_and_false_are_the_same_labels_in_every_form(tmp_path: Path) -> None:
    rows = numbered_rows([True, False], 40)
    for name, (ending, write) in FORMS.items():
        write(tmp_path / f"rows{ending}", rows)
        read = Data(source=str(tmp_path / f"rows{ending}")).read()
        assert read.label_names == ("false", "true"), name
        assert all((label == 0) == (int(str(text).split()[1]) % 2 == 1) for text, label in labels_of(read)), name


def labels_of(read: LabelledData) -> list[tuple[Any, int]]:
    splits = (read.train, read.validation, read.test)
    return [pair for split in splits for pair in zip(split.texts, split.labels, strict=True)]


def test_the_parts_of_a_table_are_read_in_order(tmp_path: Path) -> None:
    rows = numbered_rows(["a", "b"], 30)
    folder = tmp_path / "data"  # where a repository on the hub keeps its files
    folder.mkdir()
    for part in range(3):
        write_parquet(folder / f"train-0000{part}-of-00003.parquet", rows[10 * part : 10 * part + 10])
    write_parquet(folder / "test-00000-of-00001-0a1b2c.parquet", rows)
    read = Data(source=str(tmp_path)).read()
    assert rows_read(read) == {
        (f"{split}/{i}", f"text {i}", "ab"[i % 2]) for split in ("train", "test") for i in range(30)
    }


def test_a_split_may_be_a_folder(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for part in ("one", "two"):
            (tmp_path / split).mkdir(exist_ok=True)
            write_jsonl(tmp_path / split / f"{part}.jsonl", numbered_rows(["a", "b"], 10))
    read = Data(source=str(tmp_path)).read()
    assert {name for name, _, _ in rows_read(read)} == {f"{s}/{i}" for s in ("train", "test") for i in range(20)}


def test_splits_may_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("fitting", "held-out", "other"):
        write_jsonl(tmp_path / f"{name}.jsonl", numbered_rows(["a", "b"]))
    read = Data(source=str(tmp_path), splits=SplitNames(train="fitting", test="held-out")).read()
    assert {name.partition("/")[0] for name, _, _ in rows_read(read)} == {"fitting", "held-out"}


def test_a_split_may_be_left_alone_and_held_out_of_train(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_jsonl(tmp_path / f"{name}.jsonl", numbered_rows(["a", "b"]))
    read = Data(source=str(tmp_path), splits=SplitNames(test=None)).read()
    assert all(name.startswith("train/") for name in read.test.ids)


def test_what_is_tested_on_is_not_validated_on(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        write_jsonl(tmp_path / f"{name}.jsonl", numbered_rows(["a", "b"]))
    read = Data(source=str(tmp_path), splits=SplitNames(test="validation")).read()
    assert all(name.startswith("validation/") for name in read.test.ids)
    assert all(name.startswith("train/") for name in read.validation.ids)
    assert len(read.validation) == 4


@pytest.mark.parametrize("has_splits", [True, False])
def test_what_datasets_saved_is_read_with_its_label_names(tmp_path: Path, has_splits: bool) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    split = datasets.Dataset.from_list(numbered_rows([0, 1], 40), features=features)
    (datasets.DatasetDict({"train": split, "test": split}) if has_splits else split).save_to_disk(tmp_path / "saved")
    read = Data(source=str(tmp_path / "saved")).read()
    assert read.label_names == ("pos", "neg")
    assert {(text, "pos" if label == 0 else "neg") for text, label in labels_of(read)} == {
        (f"text {i}", ["pos", "neg"][i % 2]) for i in range(40)
    }
    assert len(read.test) == (40 if has_splits else 8)


def test_parquet_keeps_the_names_that_datasets_gave_its_labels(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    datasets.Dataset.from_list(numbered_rows([0, 1]), features=features).to_parquet(tmp_path / "rows.parquet")
    assert Data(source=str(tmp_path / "rows.parquet")).read().label_names == ("pos", "neg")


def test_one_file_a_class_is_labelled_by_its_name_unless_its_rows_are_labelled(tmp_path: Path) -> None:
    subjects = {"history": "time", "physics": "number", "biology": "animal"}
    for subject, words in subjects.items():
        rows: Rows = [{"text": row["text"]} for row in sentences([words], 20, seed=1)]
        write_jsonl(
            tmp_path / f"{subject}.jsonl", [row | {"label": "life"} for row in rows] if subject == "biology" else rows
        )
    read = Data(source=str(tmp_path)).read()
    assert read.label_names == ("history", "life", "physics")
    labels = {name.partition("/")[0]: label for name, _, label in rows_read(read)}
    assert labels == {"history": "history", "physics": "physics", "biology": "life"}
    assert len(rows_read(read)) == 60


@pytest.mark.parametrize("has_splits", [True, False])
def test_a_folder_of_text_files_a_class_is_labelled_by_the_folder(tmp_path: Path, has_splits: bool) -> None:
    for split in ("train/", "test/") if has_splits else ("",):
        for label in ("pos", "neg"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(10):
                (tmp_path / split / label / f"{number}_7.txt").write_text(f"{label} text {number}", encoding="utf-8")
        (tmp_path / split / "unsup").mkdir()
        (tmp_path / split / "unsup" / "0_0.txt").write_text("unlabelled", encoding="utf-8")
    read = Data(source=str(tmp_path)).read()
    assert read.label_names == ("neg", "pos")
    assert rows_read(read) == {
        (f"{split}{label}/{number}_7.txt", f"{label} text {number}", label)
        for split in (("train/", "test/") if has_splits else ("",))
        for label in ("pos", "neg")
        for number in range(10)
    }


def test_a_configuration_is_a_folder_inside_a_folder(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_jsonl(tmp_path / name / "train.jsonl", [{"text": name, "label": label} for label in "abababab"])
    read = Data(source=str(tmp_path), configuration="second").read()
    assert {text for text, _ in labels_of(read)} == {"second"}


def test_quotes_are_characters_in_a_file_of_tabs_that_does_not_pair_them(tmp_path: Path) -> None:
    lines = [f'"Text {i} begins with a quote\t{i % 2}' for i in range(15)]
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *lines]), encoding="utf-8")
    read = Data(source=str(tmp_path / "rows.tsv")).read()
    assert {text for text, _ in labels_of(read)} == {line.partition("\t")[0] for line in lines}


def test_a_field_may_be_as_long_as_a_book(tmp_path: Path) -> None:
    book = "word " * 100_000
    (tmp_path / "rows.csv").write_text("text,label\n" + f"{book},a\n{book}!,b\n" * 5, encoding="utf-8")
    assert len(str(Data(source=str(tmp_path / "rows.csv")).read().test.texts[0])) > 499_990


def test_columns_that_are_not_read_may_hold_anything(tmp_path: Path) -> None:
    rows = [{**row, "embedding": [0.5] * 8, "when": None} for row in numbered_rows(["a", "b"])]
    write_parquet(tmp_path / "rows.parquet", rows)
    assert len(rows_read(Data(source=str(tmp_path / "rows.parquet")).read())) == 20


def test_rows_held_out_for_the_test_do_not_depend_on_the_sample(tmp_path: Path) -> None:
    rows = numbered_rows(["a", "b", "c"], 200)
    random.Random(1).shuffle(rows)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    whole = Data(source=str(tmp_path / "rows.jsonl"), test_share=0.25)
    some = Data.model_validate(whole.model_dump() | {"rows": {"train": 30, "test": 20}})
    assert len(whole.read().test) == 50
    assert set(some.read().test.ids) < set(whole.read().test.ids)
    assert not set(some.read().train.ids) & set(whole.read().test.ids)


def test_a_file_that_names_itself_in_the_settings_needs_no_hub(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "reviews.jsonl", numbered_rows(["a", "b"]))
    assert not Data(source=str(tmp_path / "reviews.jsonl")).is_on_hub()
    assert not Data(source="not-there.csv").is_on_hub()
    assert Data(source="owner/name").is_on_hub()


def test_a_quote_that_ends_rows_later_swallows_none_of_them_between_tabs(tmp_path: Path) -> None:
    rows = [f"text {i}\t{'pos' if i % 2 else 'neg'}" for i in range(12)]
    rows += ['"Great film\tpos', "Boring\tneg", 'It ends with a quote"\tneg']
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]), encoding="utf-8")
    read = Data(source=str(tmp_path / "rows.tsv")).read()
    texts = {*read.train.texts, *read.validation.texts, *read.test.texts}
    assert len(texts) == 15
    assert '"Great film' in texts
