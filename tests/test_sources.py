from pathlib import Path
from typing import Any

import pytest

from conftest import WORDS, sentences, write_jsonl
from loralab.data.sampling import RowCounts
from loralab.data.sources import Data
from loralab.data.splits import SplitNames
from loralab.errors import UserError


def folder_with(tmp_path: Path, **splits: list[dict[str, Any]]) -> Data:
    for name, rows in splits.items():
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return Data(source=str(tmp_path))


def test_named_labels_are_numbered_in_alphabetical_order(toy_data: Path) -> None:
    data = Data(source=str(toy_data)).read()
    assert data.label_names == tuple(sorted(WORDS))
    words = WORDS[data.label_names[data.test.labels[0]]]
    assert any(word in str(data.test.texts[0]).split() for word in words)


def test_numeric_labels_keep_their_numbers_and_can_be_given_names(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(20)]
    data = folder_with(tmp_path, train=rows, test=rows)
    assert data.read().label_names == ("0", "1")
    named = data.model_copy(update={"label_names": ("bad", "good")}).read()
    assert named.label_names == ("bad", "good")
    assert named.test.labels == data.read().test.labels


def test_numeric_labels_need_not_begin_at_zero(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": (2, 4, 10)[i % 3]} for i in range(30)]
    read = folder_with(tmp_path, train=rows, test=rows).read()
    assert read.label_names == ("2", "4", "10")
    assert set(read.test.labels) == {0, 1, 2}


def test_data_from_the_hub_bring_their_labels_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = {"text": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    split = datasets.Dataset.from_dict(rows, features=features)
    found = datasets.DatasetDict({"train": split, "test": split, "unsupervised": split})
    monkeypatch.setattr(datasets, "load_dataset", lambda *asked: {("owner/data", "small"): found}[asked])
    read = Data(source="owner/data", configuration="small").read()
    assert read.label_names == ("neg", "pos")
    assert (len(read.train), len(read.validation), len(read.test)) == (32, 8, 40)
    assert read.test.labels[0] == int(str(read.test.texts[0]).split()[1]) % 2


def test_without_validation_it_is_carved_from_train_and_never_from_test(tmp_path: Path) -> None:
    data = folder_with(tmp_path, train=sentences(list(WORDS), 120, 1), test=sentences(list(WORDS), 30, 2))
    read = data.read()
    assert len(read.validation) == 24
    assert len(read.train) == 96
    assert not set(read.validation.ids) & set(read.train.ids)
    assert all(row.startswith("train/") for row in read.validation.ids)
    assert {read.validation.labels.count(label) for label in range(6)} == {4}


def test_a_sample_is_stratified_and_contained_in_a_larger_one(toy_data: Path) -> None:
    small = Data(source=str(toy_data), rows=RowCounts(train=30)).read().train
    large = Data(source=str(toy_data), rows=RowCounts(train=60)).read().train
    assert set(small.ids) < set(large.ids)
    assert {small.labels.count(label) for label in range(6)} == {5}


def test_reading_twice_gives_the_same_data(toy_data: Path) -> None:
    data = Data(source=str(toy_data), rows=RowCounts(train=30, test=12))
    assert data.read().sha256 == data.read().sha256
    assert data.read().sha256 != data.model_copy(update={"seed": 1}).read().sha256


def test_a_line_may_hold_characters_that_end_lines_elsewhere(tmp_path: Path) -> None:
    rows = [{"text": f"one\u2028two\x85 {i}", "label": i % 2} for i in range(20)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    (tmp_path / "test.jsonl").write_text(
        '{"text": "a\u2028b", "label": 0}\n{"text": "b", "label": 1}\n', encoding="utf-8"
    )
    read = Data(source=str(tmp_path)).read()
    assert read.test.texts[0] == "a\u2028b" or read.test.texts[1] == "a\u2028b"


def test_the_hub_s_word_on_configurations_and_splits_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(source: str, configuration: str | None) -> Any:
        if configuration is None:
            raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['cola', 'sst2']")
        return {"train": None, "validation_matched": None}

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(
        UserError, match=r"data\.configuration \(of init: --configuration\): Config name is missing[^']*'cola', 'sst2'"
    ):
        Data(source="nyu-mll/glue").read()
    with pytest.raises(UserError, match="no split 'matched'; there are train, validation_matched"):
        Data(source="nyu-mll/glue", configuration="mnli", splits=SplitNames(test="matched")).read()


def test_more_rows_than_there_are_is_an_error(toy_data: Path) -> None:
    with pytest.raises(UserError, match=r"data\.rows\.train: 500 rows asked for, but there are 240"):
        Data(source=str(toy_data), rows=RowCounts(train=500)).read()


def test_labels_are_checked_in_the_rows_that_are_used(toy_data: Path) -> None:
    """Six labels in the file, of which a sample of three rows can hold three at the most."""
    with pytest.raises(UserError, match="test: labels that no row of train in use has"):
        Data(source=str(toy_data), rows=RowCounts(train=3)).read()
    with pytest.raises(UserError, match="every row in use has the label"):
        Data(source=str(toy_data), rows=RowCounts(train=1)).read()
