"""Data that can't be used is refused with the place, the value and the way out; broken bytes too."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conftest import write_jsonl
from data_files import FORMS, numbered_rows, write_parquet, written
from loralab.data.sources import Data
from loralab.errors import MistakesError, UserError

GOOD = numbered_rows([0, 1])
LINES = "".join(json.dumps(row) + "\n" for row in GOOD)
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in GOOD)


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# Files by name, settings besides `source`, and what the message says.
REFUSED: dict[str, tuple[dict[str, str | bytes], dict[str, Any], str]] = {
    "an empty file": ({"train.jsonl": ""}, {}, r"train\.jsonl is empty"),
    "a file of blank lines": ({"train.csv": "\n \n"}, {}, r"train\.csv is empty"),
    "a list without rows": ({"train.json": "[]"}, {}, "train: no rows"),
    "a header without rows": ({"train.csv": "text,label\n"}, {}, "train: no rows"),
    "an empty folder": ({}, {}, r"nothing that can be read \(it holds nothing\).*\.jsonl"),
    "files of other forms": ({"a.docx": "x", "b.csv.gz": "x"}, {}, r"it holds a\.docx, b\.csv\.gz"),
    "text files without folders": ({"one.txt": "x"}, {}, r"folders of \.txt files, one folder a class"),
    "a test file alone": ({"test.jsonl": LINES}, {}, "data.splits.train: there is no split 'train'; there are test"),
    "two files for a split": ({"train.csv": CSV, "train.jsonl": LINES}, {}, r"several files, train\.csv, train\.jsonl"),
    "half of a split": ({"train-00000-of-00002.jsonl": LINES}, {}, "'train' has 1 of its 2 parts"),
    "splits by other names": (
        {"x_train.csv": CSV, "x_test.csv": CSV},
        {},
        "'x_test' is the name of a split.*data.splits",
    ),
    "a test split by another name": (
        {"train.csv": CSV, "Testing.csv": CSV},
        {},
        "data.splits.test: there is no split 'test'; name the one that is meant, such as 'Testing', or none by null",
    ),
    "folders of splits by other names": (
        {"training/a/1.txt": "x", "training/1.txt": "x", "testing/1.txt": "y"},
        {},
        "'testing' is the name of a split.*data.splits",
    ),
    "validation that is tested on": (
        {"train.csv": CSV, "test.csv": CSV},
        {"splits": {"validation": "test"}},
        "data.splits.validation: 'test' serves for something else",
    ),
    "a configuration of a corpus that has none": (
        {"train.csv": CSV},
        {"source": "package:docstrings", "configuration": "en"},
        "data.configuration: package:docstrings has none",
    ),
    "a split that isn't there": ({"train.csv": CSV}, {"splits": {"test": "gold"}}, "no split 'gold'; there are train"),
    "a folder that isn't there": ({"train.csv": CSV}, {"configuration": "en"}, "no folder 'en'; its folders are: none"),
    "a line that isn't JSON": ({"train.jsonl": LINES + "{x\n"}, {}, r"train\.jsonl, line 21: not JSON"),
    "a line without columns": ({"train.jsonl": LINES + "[1]\n"}, {}, r"line 21: '\[1\]' is not an object with columns"),
    "deep JSON": ({"train.json": "[" * 100_000}, {}, r"train\.json: not JSON"),
    "JSON without a table": ({"train.json": '{"a": 1}'}, {}, "neither a list of objects"),
    "columns of two lengths": ({"train.json": '{"text": ["a"], "label": [0, 1]}'}, {}, "columns of one length"),
    "two tables": ({"train.json": '{"a": [{"text": "x"}], "b": [{"text": "y"}]}'}, {}, "an object with one such list"),
    "a field too many": (
        {"train.csv": CSV + "a, b,0\n"},
        {},
        "line 22: the fields are 3, but line 1 names 2; .* in quotes",
    ),
    "a field too few": ({"train.csv": CSV + "ab\n"}, {}, "line 22: the fields are 1, but line 1 names 2"),
    "an open quote": ({"train.csv": CSV + '"ab,0\n'}, {}, "line 22: .*a quote inside a quoted field is written twice"),
    "a column named twice": ({"train.csv": "text,label,text\n"}, {}, "line 1: names the column 'text' twice"),
    "Latin-1": ({"train.csv": CSV.encode() + b"caf\xe9,1\n"}, {}, r"line 22: byte \d+ \(0xe9\) is not UTF-8; .*iconv"),
    "UTF-16": ({"train.csv": CSV.encode("utf-16")}, {}, r"line 1: byte 1 .*iconv -f UTF-16 -t UTF-8"),
    "Latin-1 in a text file": (
        {"train/a/1.txt": "x", "train/b/1.txt": b"\xe9"},
        {},
        r"b/1\.txt, line 1: byte 1 \(0xe9\) is not UTF-8",
    ),
    "no Parquet": ({"train.parquet": "PAR1"}, {}, r"train\.parquet can't be read as Parquet"),
    "no Arrow": ({"train.arrow": "ARROW1"}, {}, r"train\.arrow can't be read as Arrow"),
    "no column with text": (
        {"train.jsonl": lines({"body": "x", "label": 1})},
        {},
        r"no column 'text' \(columns there: body, label\); name the right one with data\.text",
    ),
    "no column with labels": ({"train.csv": "text,stars\nx,1\n"}, {}, "no column 'label' .* with data.label"),
    "half of a pair": ({"train.csv": CSV}, {"text": ["text", "hypothesis"]}, "no column 'hypothesis'"),
    "a row without a label": (
        {"train.jsonl": LINES + lines({"text": "x", "label": None}, {"text": "y"})},
        {},
        "train, row 21: the column 'label' holds no label\n  train, row 22: the column .*drop_unlabelled: true leaves",
    ),
    "a text that is a list": (
        {"train.jsonl": LINES + lines({"text": ["x"], "label": 1})},
        {},
        r"train, row 21: \['x'\] is not a text",
    ),
    "no texts at all": ({"train.csv": "text,label\n ,1\n,0\n"}, {}, "train: no row has text in 'text'"),
    "no texts to test on": ({"train.csv": CSV, "test.csv": "text,label\n ,1\n"}, {}, "test: no row has text in 'text'"),
    "one class": ({"train.jsonl": lines(*[{"text": "x", "label": 1}] * 9)}, {}, "train: every row has the label 1;"),
    "a label that train lacks": (
        {"train.csv": CSV, "test.csv": "text,label\nx,7\n"},
        {},
        "test: labels that are not among 0, 1: 7",
    ),
    "hidden labels": (
        {"train.csv": CSV, "test.csv": "text,label\nx,-1\ny,-1\n"},
        {},
        "test: every label is -1, so the true ones are hidden; test on a split .*data.splits.test: validation",
    ),
    "labels of which some are hidden": (
        {"train.csv": CSV, "test.csv": "text,label\nx,-1\ny,1\n"},
        {"label_names": ["no", "yes"]},
        "test: labels that are not among 0, 1: -1; data.drop_unlabelled: true leaves rows of -1 out",
    ),
    "no labels to test on": (
        {"train.csv": CSV, "test.csv": "text,label\nx,-1\ny,\n"},
        {"drop_unlabelled": True, "label_names": ["no", "yes"]},
        "test: no row has a label in 'label'; test on a split that has labels, such as data.splits.test: validation",
    ),
    "too few names": ({"train.csv": CSV}, {"label_names": ["only"]}, "train: labels that are not among 0: 1"),
    "fractions": ({"train.csv": "text,label\nx,0.5\ny,1\n"}, {}, "fractions, such as 0.5: that is regression.*classes"),
    "amounts": (
        {"train.jsonl": lines(*({"text": f"{i}", "label": i} for i in range(80)))},
        {},
        "80 different numbers in 80 rows of train: that is regression",
    ),
    "several labels a text": (
        {"train.jsonl": lines({"text": "x", "label": ["a", "b"]})},
        {},
        r"\['a', 'b'\] holds several values: that is multi-label classification.*one label at a time",
    ),
    "an object as label": ({"train.jsonl": lines({"text": "x", "label": {"a": 1}})}, {}, "multi-label"),
    "too few rows": ({"train.csv": CSV}, {"rows": {"train": 500}}, "500 rows asked for, but there are 13"),
    "validation without a rest": ({"train.csv": CSV}, {"rows": {"validation": 16}}, "train: no rows are left for it"),
    "a test without rows": ({"train.csv": "text,label\nx,0\ny,1\n"}, {}, "test: no rows are left for it"),
    "train all shared": ({"train.csv": CSV, "test.csv": CSV}, {"drop_shared": True}, "train: no rows are left for it"),
}


@pytest.mark.parametrize(("files", "changes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_data_that_can_not_be_used_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, str | bytes], changes: dict[str, Any], expected: str
) -> None:
    data = Data.model_validate({"source": str(written(tmp_path, files)), **changes})
    with pytest.raises(UserError, match=f"(?s){expected}"):
        data.read()


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"train.jsonl": "{x\n[1]\n", "validation.jsonl": "", "test.jsonl": b"\xff"}
    with pytest.raises(MistakesError) as raised:
        Data(source=str(written(tmp_path, files))).read()
    assert len(raised.value.mistakes) == 4


def test_of_many_like_mistakes_the_first_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 5: not JSON [^\n]*\n  and 95 more lines of train\.jsonl$"):
        Data(source=str(written(tmp_path, {"train.jsonl": "{x\n" * 100}))).read()


def test_numbers_that_mean_different_labels_in_two_splits_are_refused(tmp_path: Path) -> None:
    import datasets

    for split, names in (("train", ["a", "b", "c"]), ("test", ["a", "c"])):
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        found = datasets.Dataset.from_list(numbered_rows([0, 1]), features=features)
        found.to_parquet(tmp_path / f"{split}.parquet")
    with pytest.raises(UserError, match="'label' stand for a, b, c in one place and for a, c in another"):
        Data(source=str(tmp_path)).read()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text": ["only"]}, "neither a column's name nor a list of two"),
        ({"text": 3}, "neither a column's name nor a list of two"),
        ({"splits": {"train": "test"}}, "train is 'test', which is scored as well"),
        ({"label_names": ["a", "a"]}, "'a' is given twice"),
        ({"test_share": 1}, "less than 1"),
        ({"test_share": 0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Data.model_validate({"source": "rows.csv", **changes})


def test_what_is_neither_here_nor_on_the_hub_says_so() -> None:
    with pytest.raises(UserError, match="neither a folder or file here nor a data set that the hub gave"):
        Data(source="no-such/data-set").read()
    for source in ("no-such.csv", "./no-such-folder", "~nobody-of-this-name/data"):
        with pytest.raises(UserError, match=f"there is no file or folder '{source}'"):
            Data(source=source).read()


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small, good file in every form, as bytes by file name."""
    folder = tmp_path_factory.mktemp("good")
    found = {}
    for name, (ending, write) in FORMS.items():
        file = folder / f"{name}{ending}"
        write(file, numbered_rows([0, 1], 12))
        found[file.name] = file.read_bytes()
    return found


def refusal(file: Path) -> str | None:
    """What is said against the file, or None where it can be read; any other exception is the test's failure."""
    try:
        Data(source=str(file)).read()
    except UserError as error:
        return str(error)
    return None


@settings(max_examples=150, deadline=None)
@given(choice=st.data())
def test_broken_bytes_are_read_or_refused_by_name(contents: dict[str, bytes], choice: st.DataObject) -> None:
    name = choice.draw(st.sampled_from(sorted(contents)))
    content = bytearray(contents[name])
    for place in choice.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] = choice.draw(st.integers(0, 255))
    del content[choice.draw(st.integers(0, len(content))) :]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        assert file.stem in (refusal(file) or file.stem)


def test_a_broken_column_description_is_refused_and_not_believed(tmp_path: Path) -> None:
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(GOOD).replace_schema_metadata({"huggingface": "{broken"})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"rows\.parquet can't be read as Parquet"):
        Data(source=str(tmp_path / "rows.parquet")).read()


def test_a_file_that_is_not_one_of_the_forms_says_which_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in \.gz is not read; files that end in \.jsonl, "):
        Data(source=str(written(tmp_path, {"rows.csv.gz": "x"}) / "rows.csv.gz")).read()
    write_jsonl(tmp_path / "ROWS.JSONL", GOOD)
    assert Data(source=str(tmp_path / "ROWS.JSONL")).read().label_names == ("0", "1")
    write_parquet(tmp_path / "rows.parquet", GOOD)
    assert Data(source=str(tmp_path / "rows.parquet")).read().label_names == ("0", "1")
