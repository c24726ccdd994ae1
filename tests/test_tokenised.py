"""Texts are tokenised once an experiment: what is read back is what was made, and never that of anything else."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import save_tokenizer
from loralab.data import CorpusData, LabelledData
from loralab.data.rows import Flaws, Rows
from loralab.engine import tokenised as engine
from loralab.engine.tokenised import tokenised
from loralab.tasks import Task
from loralab.tasks.classification import Classification
from loralab.tasks.examples import Windows
from toy_language import TEXTS, byte_tokenizer, language_task

TEXTS_OF = ("the cat", "a red river of rain", "snow")


def labelled(**changes: Any) -> LabelledData:
    rows = Rows(("a", "b", "c"), TEXTS_OF, (0, 1, 0))
    return replace(LabelledData(rows, rows, rows, label_names=("n", "p")), **changes)


def task(**changes: Any) -> Classification:
    return Classification.model_validate({"data": "nothing is read", "max_length": 16, **changes})


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    save_tokenizer(tmp_path / "model")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tmp_path / "model")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was tokenised, in order."""
    found: list[str] = []
    for kind in (Classification, type(language_task())):

        def noting(self: Any, data: Any, tokenizer: Any, _make: Any = kind.examples) -> Any:
            found.append(self.kind)
            return _make(self, data, tokenizer)

        monkeypatch.setattr(kind, "examples", noting)
    return found


def same(one: Any, other: Any) -> bool:
    """Tell whether two are equal, array by array, types too."""
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other))
    return bool(type(one) is type(other) and one == other)


def test_labelled_texts_come_back_as_they_were_made(tmp_path: Path, tokenizer: Any, made: list[str]) -> None:
    first = tokenised(task(), labelled(), tokenizer, tmp_path)
    again = tokenised(task(), labelled(), tokenizer, tmp_path)
    assert made == ["classification"]
    assert all(same(asdict(first[name]), asdict(again[name])) for name in first)


def test_documents_come_back_as_they_were_made(tmp_path: Path, made: list[str]) -> None:
    data = CorpusData(TEXTS, TEXTS, TEXTS, {"lambada": TEXTS.take(range(1, 7))}, Flaws())
    asked = language_task(evaluate={"lambada": {"source": "nothing", "last_word": True}})
    first = tokenised(asked, data, byte_tokenizer(), tmp_path)
    again = tokenised(asked, data, byte_tokenizer(), tmp_path)
    assert made == ["causal-lm"]
    assert isinstance(first["lambada"], Windows)
    assert first["lambada"].stream.last_words is not None
    assert all(same(asdict(first[name]), asdict(again[name])) for name in first)


@pytest.mark.parametrize("changed", ["data", "task", "vocabulary", "padding", "end"])
def test_what_depends_on_something_else_is_made_anew(
    changed: str, tmp_path: Path, tokenizer: Any, made: list[str]
) -> None:
    tokenised(task(), labelled(), tokenizer, tmp_path)
    data, asked = labelled(), task()
    if changed == "data":
        data = labelled(test=Rows(("d",), ("fog",), (1,)))
    elif changed == "task":
        asked = task(max_length=3)
    elif changed == "vocabulary":
        tokenizer.add_tokens(["snowman"])
    elif changed == "padding":
        tokenizer.pad_token = "[UNK]"
    else:
        tokenizer.truncation_side = "left"
    tokenised(asked, data, tokenizer, tmp_path)
    assert len(made) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_file_is_made_anew(damage: str, tmp_path: Path, tokenizer: Any, made: list[str]) -> None:
    first = tokenised(task(), labelled(), tokenizer, tmp_path)
    (file,) = (tmp_path / "tokens").iterdir()
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-3], "empty": b"", "other": b"{}" * 40}[damage])
    again = tokenised(task(), labelled(), tokenizer, tmp_path)
    assert len(made) == 2
    assert same(asdict(first["train"]), asdict(again["train"]))
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_the_file_alone(tmp_path: Path, tokenizer: Any, made: list[str]) -> None:
    (tmp_path / "tokens").write_text("no folder")
    assert len(tokenised(task(), labelled(), tokenizer, tmp_path)) == 3
    assert len(tokenised(task(), labelled(), tokenizer, tmp_path)) == 3
    assert len(made) == 2


def test_a_tokenizer_that_nothing_tells_from_another_keeps_no_file(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tokenizer), "backend_tokenizer", None)
    chosen: Task = task()
    assert engine._file(tmp_path, chosen, labelled(), tokenizer) is None
