"""Trackers get the curves, read back from what the real libraries wrote; one that fails never stops an experiment."""

import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeExperiment
from loralab import api
from loralab.comparison import Comparison
from loralab.errors import UserError
from loralab.experiment import Experiment, Trial
from loralab.plan import tuning_trials
from loralab.progress import Progress, Silent
from loralab.results import Failure, Measurement
from loralab.trackers import Tracked, open_tracker
from loralab.trackers.tensorboard import TensorBoard
from made_up import untuned

BLOCK = 2**15  # bytes of a LevelDB log


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, toy_experiment: Experiment) -> tuple[Path, Comparison]:
    """A small experiment that all trackers followed."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("tracked")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    patch.setenv("HOME", str(folder / "home"))  # nobody is logged in there
    arms = {name: toy_experiment.arms[name] for name in ("full", "lora")}
    small = untuned(toy_experiment, seeds=(0,)).model_copy(update={"arms": arms})
    found = api.run(untuned(small), folder / "run", trackers=("tensorboard", "wandb", "mlflow"))
    patch.undo()
    return folder / "run", found


def curve(found: Measurement) -> dict[int, float]:
    return {point.step: point.training_loss for point in found.curve}


def wandb_records(file: Path) -> Iterator[Any]:
    """Read what W&B sends when it is told to sync: protocol buffers in a LevelDB log, in blocks of 32 kB."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts = file.read_bytes(), 7, b""  # after a header of its own
    while place < len(content):
        left = BLOCK - place % BLOCK
        if left < 7:  # too few for a record's header: they are empty
            place += left
            continue
        length, kind = struct.unpack("<xxxxHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def history(file: Path) -> Iterator[dict[str, str]]:
    """Return the points of a run, values in JSON by name."""
    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "history":
            yield {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}


@pytest.mark.parametrize("logged_in", [True, False])
def test_wandb_is_online_for_those_who_logged_in(logged_in: bool, tmp_path: Path) -> None:
    if logged_in:
        account = "machine api.wandb.ai\n  login user\n  password " + 40 * "0" + "\n"
        (tmp_path / ".netrc").write_text(account, encoding="utf-8")
        (tmp_path / ".netrc").chmod(0o600)
    code = "from loralab.trackers.wandb import _mode; print(_mode())"
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**elsewhere, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-1] == ("online" if logged_in else "offline")


def test_mlflow_makes_its_store_without_a_word(
    toy_experiment: Experiment, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    open_tracker("mlflow", tmp_path).begin(tuning_trials(toy_experiment)[0])
    assert (tmp_path / "mlflow.db").exists()
    assert "".join(capfd.readouterr()) == ""


def test_tensorboard_shows_each_trials_curves(tracked: tuple[Path, Comparison]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, comparison = tracked
    for found in comparison.measurements:
        read = EventAccumulator(str(folder / "tensorboard" / found.trial.id))
        read.Reload()
        losses = {event.step: event.value for event in read.Scalars("training/loss")}
        assert losses == pytest.approx(curve(found))
        assert read.Scalars("validation/log_loss")
        assert read.Scalars("score/accuracy")[-1].value == pytest.approx(found.scores["accuracy"])
        assert "_hparams_/session_start_info" in read.summary_metadata


def test_wandb_keeps_runs_on_disk_without_an_account(tracked: tuple[Path, Comparison]) -> None:
    folder, comparison = tracked
    files = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))
    names, losses = set(), set()
    for file in files:
        for record in wandb_records(file):
            if record.WhichOneof("record_type") == "run":
                names.add(record.run.display_name)
        losses |= {float(one["training/loss"]) for one in history(file) if "training/loss" in one}
    assert names == {
        found.trial.id for found in [*comparison.measurements, *comparison.untouched.measurements.values()]
    }
    for found in comparison.measurements:
        for loss in curve(found).values():
            assert any(one == pytest.approx(loss) for one in losses)


def test_mlflow_keeps_runs_in_a_file(tracked: tuple[Path, Comparison]) -> None:
    from mlflow import MlflowClient

    folder, comparison = tracked
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("run")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    for found in comparison.measurements:
        run = runs[found.trial.id]
        history = client.get_metric_history(run.info.run_id, "training/loss")
        assert {one.step: one.value for one in history} == pytest.approx(curve(found))
        assert run.data.params["arm"] == found.trial.arm
        assert run.data.metrics["score/accuracy"] == found.scores["accuracy"]
        assert run.info.status == "FINISHED"


def killed(found: Measurement) -> Failure:
    return Failure(trial=found.trial, reason="killed", message="by the system")


@pytest.mark.parametrize("store", ["sqlite:///{}/elsewhere.db", "file://{}/mlruns"])
def test_mlflow_takes_another_store(
    store: str, tracked: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.format(tmp_path))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # it is in maintenance (mlflow 3)
    found = tracked[1].measurements[0]
    tracker = open_tracker("mlflow", tmp_path / "imdb")
    tracker.begin(found.trial)
    tracker.log({"training/loss": 0.5}, 3)
    tracker.finish(found)
    client = MlflowClient(store.format(tmp_path))
    experiment = client.get_experiment_by_name("imdb")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["training/loss"] == 0.5
    assert not (tmp_path / "imdb" / "mlflow.db").exists()


def test_a_trial_that_goes_on_takes_up_its_run_in_mlflow(
    tracked: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = tracked[1].measurements[0]
    for step in (1, 2):  # opened anew, as by the command that goes on
        tracker = open_tracker("mlflow", tmp_path)
        tracker.begin(found.trial)
        tracker.log({"training/loss": 1 / step}, step)
        tracker.finish(killed(found) if step == 1 else found)
    open_tracker("mlflow", tmp_path).begin(found.trial)  # one that is carried out once more has a run of its own
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(tmp_path.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert (len(runs), len(finished)) == (2, 1)
    history = client.get_metric_history(finished[0].info.run_id, "training/loss")
    assert {one.step: one.value for one in history} == {1: 1.0, 2: 0.5}


def test_a_run_that_was_deleted_in_mlflow_is_not_taken_up(
    tracked: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = tracked[1].measurements[0]
    open_tracker("mlflow", tmp_path).begin(found.trial)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(tmp_path.name)
    assert experiment is not None
    (first,) = client.search_runs([experiment.experiment_id])
    client.delete_run(first.info.run_id)
    open_tracker("mlflow", tmp_path).begin(found.trial)
    (second,) = client.search_runs([experiment.experiment_id])
    assert second.info.run_id != first.info.run_id


@pytest.mark.parametrize(("mode", "is_taken_up"), [("online", True), ("offline", False)])
def test_a_trial_that_goes_on_takes_up_its_run_of_a_wandb_server(
    mode: str, is_taken_up: bool, tracked: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unittest.mock import MagicMock

    monkeypatch.setenv("WANDB_MODE", mode)
    begun = MagicMock(side_effect=[MagicMock(id="first"), MagicMock(id="second"), MagicMock(id="third")])
    monkeypatch.setattr("wandb.init", begun)
    found = tracked[1].measurements[0]
    for result in (killed(found), found, found):
        tracker = open_tracker("wandb", tmp_path)
        tracker.begin(found.trial)
        tracker.finish(result)
    assert [one.kwargs["id"] for one in begun.call_args_list] == [None, "first" if is_taken_up else None, None]


def test_wandb_keeps_points_of_steps_that_go_back(
    tracked: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory ran out, and a trial begins again in smaller parts."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    found = tracked[1].measurements[0]
    tracker = open_tracker("wandb", tmp_path)
    tracker.begin(found.trial)
    for step in (4, 2):
        tracker.log({"training/loss": 1 / step}, step)
    tracker.finish(found)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    for _ in range(60):  # W&B writes in a process of its own, which may be behind
        points = [(int(one["step"]), float(one["training/loss"])) for one in history(file)]
        if points:
            break
        time.sleep(0.5)
    assert points == [(4, 0.25), (2, 0.5)]


class Failing:
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.begun: list[str] = []

    def begin(self, trial: Trial) -> None:
        self.begun.append(trial.id)
        self._fail("begin")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._fail("log")

    def finish(self, result: Measurement | Failure) -> None:
        self._fail("finish")

    def _fail(self, where: str) -> None:
        if where == self.where:
            raise OSError("no room")


@pytest.mark.parametrize("where", ["begin", "log", "finish"])
def test_a_tracker_that_fails_is_told_of_once_and_training_goes_on(
    where: str, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    experiment = untuned(make_experiment(), seeds=(0,))
    failing = Failing(where)
    with pytest.warns(UserWarning, match="Failing failed .OSError: no room.; no more goes there") as told:
        found = api.run(experiment, tmp_path / "run", trackers=(failing,))
    assert sum("no room" in str(one.message) for one in told) == 1
    assert len(failing.begun) <= 2  # the untouched model has no curve
    assert len(found.measurements) == len(experiment.arms)


class Waiting:
    """Waits for a server that doesn't answer before it takes anything."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.taken: list[str] = []

    def begin(self, trial: Trial) -> None:
        self.answers.wait()
        self.taken.append("begin")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.taken.append(f"step {step}")

    def finish(self, result: Measurement | Failure) -> None:
        self.taken.append("finish")


def test_a_tracker_that_waits_keeps_no_trial_waiting_and_misses_nothing(tracked: tuple[Path, Comparison]) -> None:
    found = next(one for one in tracked[1].measurements if one.curve)
    waiting = Waiting()
    with Tracked(Silent(), [waiting]) as watcher:
        watcher.begin(found.trial)
        for point in found.curve:
            watcher.progress(Progress(found.trial.id, "training", point=point))
        watcher.finish(found)
        assert waiting.taken == []
        waiting.answers.set()
    assert waiting.taken == ["begin", *(f"step {point.step}" for point in found.curve), "finish"]


def test_a_tracker_that_never_answers_is_not_waited_for_for_ever(
    tracked: tuple[Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loralab.trackers.tracked.SHORT", 0.01)
    monkeypatch.setattr("loralab.trackers.tracked.LONG", 0.01)
    found, waiting = tracked[1].measurements[0], Waiting()
    with pytest.warns(UserWarning, match="Waiting") as told, Tracked(Silent(), [waiting]) as watcher:
        watcher.finish(found)
    assert [str(one.message) for one in told] == [
        "Waiting did not take everything yet; waiting for 0.01 s at most",
        "Waiting took too long: the last of the curves may be missing there",
    ]
    waiting.answers.set()


def test_an_unknown_tracker_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        open_tracker("wandbb", tmp_path)


def test_a_tracker_that_is_not_installed_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "loralab.trackers.wandb", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'loralab\[wandb\]'"):
        open_tracker("wandb", tmp_path)


def test_a_tracker_that_cannot_be_opened_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ValueError("API key must have 40+ characters")

    monkeypatch.setattr("loralab.trackers.wandb._mode", refuse)
    with pytest.raises(UserError, match="--track wandb: it can't be opened"):
        open_tracker("wandb", tmp_path)


def test_a_writer_whose_thread_has_ended_fails_instead_of_waiting(
    tracked: tuple[Path, Comparison], tmp_path: Path
) -> None:
    """As on a full disk."""
    found = tracked[1].measurements[0]
    board = TensorBoard(tmp_path)
    board.begin(found.trial)
    assert board._writer is not None
    board._writer._get_file_writer().event_writer._worker.stop()
    with pytest.raises(OSError, match="the thread that writes its files has ended"):
        board.log({"training/loss": 1.0}, 1)
    board._writer.close()


def test_without_trackers_nothing_is_written_for_them(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    api.run(untuned(make_experiment(), seeds=(0,)), tmp_path / "run", trackers=())
    assert not (tmp_path / "run" / "tensorboard").exists()
