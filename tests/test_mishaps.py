"""Bad input, case by case: one message with the way out, exit status 2, no traceback, and nothing finished is lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import fails, sentences, toy_file, write_jsonl
from loralab import api
from loralab.checks import of_saved
from loralab.cli import main
from loralab.engine import checkpoints
from loralab.errors import UserError
from loralab.folder import ResultsFolder


@dataclass
class Desk:
    """What a case may spoil: an experiment file, its data and model, and a finished results folder."""

    file: Path
    data: Path
    model: Path
    out: Path

    def change(self, place: str, value: Any) -> None:
        """Change a setting in the experiment file."""
        raw = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        *parents, last = place.split(".")
        inner = raw
        for key in parents:
            inner = inner[key]
        inner[last] = value
        self.file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")

    def rewrite(self, split: str, **columns: Any) -> None:
        """Put other values into the columns of a split's first row."""
        file = self.data / f"{split}.jsonl"
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        write_jsonl(file, [rows[0] | columns, *rows[1:]])

    def fingerprint(self) -> dict[str, str]:
        """Hash every file of the results folder; logs and locks are no results."""
        files = [file for file in self.out.rglob("*") if file.is_file() and file.suffix not in (".log", ".lock")]
        return {
            str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if not file.name.startswith(".")
        }


Spoil = Callable[[Desk], object]


@pytest.fixture
def desk(toy_model: Path, toy_data: Path, finished: Path, tmp_path: Path) -> Desk:
    """The finished folder belongs to the untouched toy experiment, whose model and data a case must not spoil."""
    found = Desk(tmp_path / "toy.yaml", tmp_path / "data", tmp_path / "model", tmp_path / "out")
    shutil.copytree(toy_data, found.data)
    shutil.copytree(toy_model, found.model)
    shutil.copytree(finished, found.out)
    raw = toy_file(toy_model, toy_data)
    found.file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return found


def setting(place: str, value: Any) -> Spoil:
    """Spoil one setting."""
    return lambda desk: desk.change(place, value)


def text(content: str | bytes) -> Spoil:
    """Spoil the whole file."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda desk: desk.file.write_bytes(raw)


def own_data(spoil: Spoil) -> Spoil:
    """Point the experiment to data of its own, and spoil them."""

    def change(desk: Desk) -> None:
        desk.change("conditions.task.data", str(desk.data))
        spoil(desk)

    return change


def own_model(spoil: Spoil) -> Spoil:
    """Point the experiment to a model of its own, and spoil it."""

    def change(desk: Desk) -> None:
        desk.change("conditions.model", str(desk.model))
        spoil(desk)

    return change


def nothing(_: Desk) -> None:
    """Spoil nothing: the mistake is in the command."""


def emptied(desk: Desk) -> None:
    """Leave the data folder without a file."""
    for file in desk.data.iterdir():
        file.unlink()


def as_pickle(desk: Desk) -> None:
    """Replace the weights by a pickled file."""
    (desk.model / "model.safetensors").rename(desk.model / "pytorch_model.bin")


PLAN = ["plan", "FILE"]
RUN = ["run", "FILE", "--out", "NEW"]
AGAIN = ["run", "FILE", "--out", "OUT"]
LORA = "arms.lora.method"
DATA = "conditions.task.data"

CASES: list[tuple[str, Spoil, list[str], list[str]]] = [
    # the experiment file
    ("unknown key", setting("basline", "full"), PLAN, ["no setting is called 'basline'; did you mean 'baseline'?"]),
    ("unknown condition", setting("conditions.batchsize", 4), PLAN, ["did you mean 'batch_size'?"]),
    ("unknown method setting", setting(f"{LORA}.rnak", 4), PLAN, [f"{LORA}: no setting is called 'rnak'"]),
    ("word for a number", setting(f"{LORA}.rank", "eight"), PLAN, ["'eight' is not a whole number"]),
    ("no epochs", setting("conditions.epochs", 0), PLAN, ["conditions.epochs: 0 is not a positive number"]),
    ("negative decay", setting("conditions.weight_decay", -1), PLAN, ["conditions.weight_decay: -1 is negative"]),
    ("two lengths", setting("conditions.steps", 5), PLAN, ["give either epochs or steps"]),
    ("unknown method", setting("arms.full.method.kind", "ful"), PLAN, ["'ful' is no kind of it"]),
    ("unknown schedule", setting("conditions.schedule", "steep"), PLAN, ["'steep' is not one of 'linear'"]),
    ("unknown baseline", setting("baseline", "ful"), PLAN, ["no arm is called 'ful'; the arms are full, lora"]),
    ("seeds in a word", setting("seeds", "many"), PLAN, ["seeds: 'many' is no list of seeds", "'auto'"]),
    ("looks that fall", setting("looks", [2, 1]), PLAN, ["looks: [2, 1] should rise", "the number of seeds, 2"]),
    ("a look at one seed", setting("looks", [1, 2]), PLAN, ["should rise from 2 or more"]),
    ("unknown metric", setting("primary", "acuracy"), PLAN, ["primary", "did you mean 'accuracy'?"]),
    (
        "a margin in points",
        setting("margin", {"accuracy": 2}),
        PLAN,
        ["margin.accuracy: 2 is 200 points; 2 points are 0.02"],
    ),
    ("unknown price", setting("prefer", "cheap"), PLAN, ["prefer: 'cheap' is not one of", "'storage'"]),
    ("the tuning seed by an offset", setting("arms.lora.seed_offset", 999_999), PLAN, ["would be among its seeds"]),
    ("a seed beyond all", setting("arms.lora.seed_offset", 2**32), PLAN, ["would be too large"]),
    ("seed twice", setting("seeds", [1, 1]), PLAN, ["names a seed twice"]),
    ("tuning seed", setting("tuning_seed", 1), PLAN, ["tuning_seed: 1 is also a final seed"]),
    ("unknown metric", setting("margin", {"acuracy": 0.1}), PLAN, ["no metric is called 'acuracy'"]),
    ("unequal tries", setting("arms.full.learning_rates", [1e-3, 2e-3, 3e-3]), PLAN, ["needs the same number"]),
    ("rate twice", setting("arms.full.learning_rates", [1e-3, 1e-3]), PLAN, ["a learning rate is given twice"]),
    ("no rates", setting("arms.full.learning_rates", []), PLAN, ["arms.full.learning_rates: is empty"]),
    ("a list for a mapping", setting("conditions", [1]), PLAN, ["conditions: [1] is no mapping of settings"]),
    ("an arm's name", setting("arms", {"a/b": {}}), PLAN, ["a name starts with a letter or digit"]),
    ("empty file", text(""), PLAN, ["toy.yaml holds no experiment"]),
    ("bytes", text(b"\xff\xfe\x00\x81"), PLAN, ["can't be read"]),
    ("no YAML", text("a: [1, 2"), PLAN, ["toy.yaml is not valid YAML"]),
    ("key twice", text("seeds: 1\nseeds: 2\n"), PLAN, ["'seeds' is given twice"]),
    ("nested too deeply", text("[" * 5000), PLAN, ["nested too deeply"]),
    ("an impossible date", text("baseline: 2020-13-45\n"), PLAN, ["is not valid YAML"]),
    # the command
    ("no such file", nothing, ["plan", "nowhere.yaml"], ["no such file, and no recipe of that name"]),
    ("a folder", nothing, ["run", "OUT"], ["is a folder; give an experiment file"]),
    ("rows without a number", nothing, [*PLAN, "--rows", "train"], ["--rows train: write --rows train=N,test=N"]),
    ("rows in words", nothing, [*PLAN, "--rows", "train=many"], ["'many' is not a whole number"]),
    ("a setting that is no YAML", nothing, [*PLAN, "--set", "seeds=[1,"], ["--set seeds=[1, is not valid YAML"]),
    ("a part of a number", nothing, [*PLAN, "--set", "seeds.x=1"], ["can't set seeds.x"]),
    ("unknown arm", nothing, [*PLAN, "--arms", "full,lroa"], ["no arm is called lroa; the arms are full, lora"]),
    ("unknown recipe", nothing, ["recipes", "copy", "imbd"], ["no recipe is called 'imbd'"]),
    # the data
    ("no such data", nothing, [*PLAN, "--data", "/no/such/folder"], ["/no/such/folder"]),
    ("empty data folder", own_data(emptied), PLAN, ["DATA"]),
    ("missing column", setting(DATA, {"source": "DATA", "text": "body"}), PLAN, ["no column 'body'", "text, label"]),
    (
        "one class",
        own_data(lambda d: write_jsonl(d.data / "train.jsonl", sentences(["place"], 20, 1))),
        PLAN,
        ["place"],
    ),
    ("unknown label", own_data(lambda d: d.rewrite("test", label="moon")), PLAN, ["test", "'moon'"]),
    ("several labels", own_data(lambda d: d.rewrite("train", label=["a", "b"])), PLAN, ["multi-label"]),
    ("no JSON", own_data(lambda d: (d.data / "test.jsonl").write_text("{broken")), PLAN, ["test.jsonl, line 1"]),
    ("no UTF-8", own_data(lambda d: (d.data / "test.jsonl").write_bytes(b'{"text": "\xff"}')), PLAN, ["UTF-8"]),
    ("empty file of data", own_data(lambda d: (d.data / "train.jsonl").write_text("")), PLAN, ["train"]),
    ("too many rows", nothing, [*PLAN, "--rows", "train=9999"], ["9999 rows asked for, but there are 240"]),
    # the model
    ("no such model", nothing, [*PLAN, "--model", "/no/such/model"], ["there is no folder"]),
    (
        "model on no hub",
        nothing,
        [*RUN, "--model", "no-such/model"],
        ["'no-such/model' can't be loaded", "--model DIR"],
    ),
    ("no configuration", own_model(lambda d: (d.model / "config.json").unlink()), PLAN, ["no config.json"]),
    ("damaged configuration", own_model(lambda d: (d.model / "config.json").write_text("{")), PLAN, ["config.json"]),
    ("damaged weights", own_model(lambda d: (d.model / "model.safetensors").write_bytes(b"no")), PLAN, ["safetensors"]),
    ("pickled weights", own_model(as_pickle), PLAN, ["safetensors"]),
    (
        "too many tokens",
        setting("conditions.task.max_length", 65),
        PLAN,
        ["this model reads at most 64 tokens, not 65"],
    ),
    ("rank too large", setting(f"{LORA}.rank", 33), PLAN, ["arms.lora.", "rank", "33", "32"]),
    ("no such target", setting(f"{LORA}.targets", ["q_proj"]), PLAN, ["'q_proj' is neither a role", "q_lin"]),
    # the results folder
    ("other conditions", setting("conditions.batch_size", 4), AGAIN, ["conditions.batch_size (8 there, 4 now)"]),
    ("another method", setting(f"{LORA}.rank", 2), AGAIN, [f"{LORA}.rank (4 there, 2 now)"]),
    ("a file for a folder", nothing, ["run", "FILE", "--out", "FILE/x"], ["can't be written"]),
    ("no results", nothing, ["report", "/no/such/folder"], ["no experiment.json"]),
    (
        "damaged experiment",
        lambda d: (d.out / "experiment.json").write_text("{"),
        ["report", "OUT"],
        ["experiment.json"],
    ),
    (
        "damaged trial",
        lambda d: next(d.out.glob("trials/final-lora-*.json")).write_text("{"),
        AGAIN,
        ["remove it to carry out the trial again"],
    ),
]


@pytest.mark.parametrize(("spoil", "words", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_mishap_is_one_message_and_loses_nothing(
    desk: Desk,
    spoil: Spoil,
    words: list[str],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "FILE": str(desk.file),
        "OUT": str(desk.out),
        "NEW": str(desk.out.with_name("new")),
        "DATA": str(desk.data),
    }
    spoil(desk)
    if desk.file.read_bytes().count(b"DATA"):
        desk.change("conditions.task.data.source", str(desk.data))
    before = desk.fingerprint()
    told = fails(monkeypatch, capsys, *[places.get(word, word.replace("FILE", str(desk.file))) for word in words])
    assert [part for part in expected if places.get(part, part) not in told] == []
    assert "Traceback" not in told
    assert desk.fingerprint() == before


def test_several_mistakes_are_told_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the file; and, once that is right, of all arms together."""
    desk.change(f"{LORA}.rank", 0)
    desk.change("conditions.batch_size", 0)
    assert "2 mistakes" in fails(monkeypatch, capsys, "plan", str(desk.file))
    desk.change("conditions.batch_size", 8)
    desk.change(f"{LORA}.rank", 33)
    raw = yaml.safe_load(desk.file.read_text(encoding="utf-8"))
    desk.change(
        "arms.other", raw["arms"]["lora"] | {"method": {**raw["arms"]["lora"]["method"], "targets": ["q_proj"]}}
    )
    told = fails(monkeypatch, capsys, "plan", str(desk.file))
    assert "2 mistakes" in told
    assert "arms.lora." in told
    assert "arms.other." in told


def test_a_second_process_on_one_folder_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ResultsFolder(desk.out).locked():
        told = fails(monkeypatch, capsys, "run", str(desk.file), "--out", str(desk.out))
    assert "another loralab is at work here" in told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_is_told_and_what_is_finished_is_kept(
    desk: Desk, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = desk.fingerprint()
    monkeypatch.setattr("loralab.writing.os.fsync", refusing(number))
    told = fails(monkeypatch, capsys, "run", str(desk.file), "--out", str(desk.out), "--seeds", "3")
    assert "can't be written" in told
    assert os.strerror(number) in told
    assert desk.fingerprint() == before


def test_a_folder_that_takes_no_files_still_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A colleague's folder may be read, and not written."""
    monkeypatch.setattr("loralab.writing.os.fsync", refusing(errno.EROFS))
    monkeypatch.setattr("sys.argv", ["loralab", "report", str(desk.out)])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr()
    assert "untouched" in told.out
    assert "can't be written" in told.err


def refusing(number: int) -> Callable[[int], None]:
    """What stands in for a system call that fails with this error."""

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_disk_that_fills_up_while_a_model_is_saved_is_told(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries have types of their own for it: safetensors and tokenizers raise what is no OSError."""
    from loralab.errors import UserError
    from loralab.files import read_experiment
    from loralab.plan import certain_trials
    from loralab.train import attempt

    def fill(*_: object) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("loralab.train._save", fill)
    trial = certain_trials(read_experiment(desk.file))[-1]
    with pytest.raises(UserError, match="the disk is full"):
        attempt(trial, tmp_path, lambda _: None)


def test_data_that_change_meanwhile_end_the_experiment_and_void_nothing(finished: Path, tmp_path: Path) -> None:
    """The reload check reads them again: others would be taken for a broken model."""
    found = next(one for one in api.load(finished).measurements if one.saved is not None)
    other = found.data.model_copy(update={"sha256": "of other rows"})
    with pytest.raises(UserError, match="the data changed while it was under way"):
        of_saved(found.model_copy(update={"data": other}), finished, lambda _: None)


@pytest.mark.parametrize("asked", ["2m", "soon"])
def test_a_time_between_checkpoints_that_is_none_is_told(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORALAB_CHECKPOINT_SECONDS", asked)
    with pytest.raises(UserError, match=f"LORALAB_CHECKPOINT_SECONDS: '{asked}' is no number of seconds"):
        checkpoints._every()


def test_data_that_have_changed_since_are_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loralab.data.rows.LabelledData.sha256", lambda _: "of other rows")
    before = desk.fingerprint()
    told = fails(monkeypatch, capsys, "run", str(desk.file), "--out", str(desk.out), "--seeds", "3")
    assert "differs in\n  the data (other rows there than now)" in told
    assert desk.fingerprint() == before


def test_nothing_is_written_for_an_experiment_that_can_not_be_carried_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.change(f"{LORA}.rank", 33)
    new = desk.out.with_name("new")
    fails(monkeypatch, capsys, "run", str(desk.file), "--out", str(new))
    assert not new.exists()


def test_an_added_arm_that_can_not_be_carried_out_leaves_the_folder_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = desk.fingerprint()
    method = {"kind": "lora", "rank": 33, "alpha": 8}
    desk.change("arms.large", {"method": method, "learning_rates": [1e-3, 1e-2]})
    told = fails(monkeypatch, capsys, "run", str(desk.file), "--out", str(desk.out))
    assert "arms.large.method.rank" in told
    assert desk.fingerprint() == before
