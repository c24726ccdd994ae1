"""The main job from end to end, on toy models in fresh processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import toy_file
from loralab import api
from loralab.comparison import Comparison
from loralab.experiment import Experiment, Trial
from loralab.places import LocalProcesses, ProcessEndedError, fresh
from loralab.places.fresh import in_fresh_process
from loralab.progress import Progress, Silent, Watch, Watcher
from loralab.results import Failure, Measurement

# Reloads a saved model in a fresh process, by the lines that the report prints, and sends its logits back.
RELOAD = """
import json, sys
from pathlib import Path
import torch
from transformers import AutoTokenizer
{loading}
tokenizer = AutoTokenizer.from_pretrained({folder!r})
model.eval()
with torch.inference_mode():
    logits = model(**tokenizer({texts!r}, padding=True, return_tensors="pt")).logits
labels = model.config.id2label
print(json.dumps([logits.double().tolist(), [labels[i] for i in range(len(labels))], str(logits.dtype)]))
"""


class Counting(Silent):
    """Counts the trials that are carried out."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def begin(self, trial: Trial) -> None:
        self.begun.append(trial.id)


def scores(comparison: Comparison) -> Any:
    """What must be the same whenever an experiment is carried out: every number but time and memory."""
    return {
        (name, seed): (found.items, found.curve, found.sameness, found.trial)
        for name, arm in comparison.arms.items()
        for seed, found in arm.measurements.items()
    }


def test_an_experiment_ends_with_every_trial_measured_and_a_report(finished: Path, toy_experiment: Experiment) -> None:
    comparison = api.load(finished)
    assert not comparison.failures
    assert not comparison.missing
    assert list(comparison.arms) == list(toy_experiment.arms)
    assert all(sorted(arm.measurements) == [0, 1] for arm in comparison.arms.values())
    assert list(comparison.untouched.measurements) == [0]
    assert (finished / "report.html").stat().st_size > 10_000


def test_a_second_run_carries_out_nothing(finished: Path, toy_experiment: Experiment) -> None:
    watcher = Counting()
    api.run(toy_experiment, finished, watcher=watcher)
    assert watcher.begun == []


def test_an_added_seed_is_all_that_runs(finished: Path, toy_experiment: Experiment, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "more")
    watcher = Counting()
    api.run(toy_experiment.model_copy(update={"seeds": (0, 1, 2)}), tmp_path / "more", watcher=watcher)
    assert len(watcher.begun) == 3
    assert all(name.endswith("seed2") for name in watcher.begun)


@pytest.fixture(scope="module")
def two_label_run(tmp_path_factory: pytest.TempPathFactory, toy_model: Path, two_labels: Path) -> Path:
    """A results folder of a data set with two labels, one rate each."""
    from loralab.files import parse_experiment

    raw = toy_file(toy_model, two_labels, seeds=1)
    for arm in raw["arms"].values():
        arm["learning_rates"] = arm["learning_rates"][:1]
    folder = tmp_path_factory.mktemp("two-label-run")
    api.run(parse_experiment(raw, "two.yaml"), folder)
    return folder


@pytest.mark.parametrize("labels", [2, 6])
@pytest.mark.parametrize("arm", ["full", "lora", "head-only"])
def test_a_model_loaded_from_disk_in_a_fresh_process_gives_the_stored_scores(
    request: pytest.FixtureRequest, arm: str, labels: int
) -> None:
    """The stored log losses came from the trained network in memory; the loaded one must give the same logits."""
    import numpy as np

    from loralab.tasks.items import LabelScores
    from loralab.tasks.metrics import log_losses

    folder: Path = request.getfixturevalue("finished" if labels == 6 else "two_label_run")
    found = api.load(folder).arms[arm].measurements[0]
    assert found.saved is not None
    assert isinstance(found.items, LabelScores)
    data = found.trial.conditions.task.read()
    script = RELOAD.format(loading=found.saved.loading, folder=found.saved.folder, texts=list(data.test.texts))
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    logits, names, dtype = json.loads(done.stdout.splitlines()[-1])
    assert (tuple(names), dtype) == (data.label_names, "torch.float32")
    reloaded = log_losses(np.array(logits), found.items.labels)
    # The experiment cuts at 16 tokens; the lines above don't cut, so only whole texts can agree.
    whole = [i for i, text in enumerate(data.test.texts) if len(str(text).split()) + 2 <= 16]
    assert len(whole) > 20
    stored = np.array(found.items.log_losses)
    assert np.abs(reloaded - stored)[whole].max() < 1e-5
    assert np.array_equal(np.argmax(logits, axis=1)[whole], np.array(found.items.predictions)[whole])


def test_killed_in_the_middle_of_trials_and_started_again_it_gives_the_same_numbers(
    finished: Path, toy_model: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With checkpoints many times a second. `benchmarks/kills.py` is the long form: 200 kills at random instants."""
    monkeypatch.setenv("LORALAB_CHECKPOINT_SECONDS", "0")
    file, out = tmp_path / "toy.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(toy_file(toy_model, toy_data), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "loralab", "run", str(file), "--out", str(out)]
    before: set[str] = set()
    for begun in (3, 9):  # the next trial's log shows that it is under way while the results before it are kept
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(lambda begun=begun: len(list(out.glob("trials/*.log"))) >= begun)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        earlier, before = before, {path.name for path in out.glob("trials/*.json")}
        assert len(earlier) < len(before) < 16
    subprocess.run(command, check=True, capture_output=True)
    written = {path.name for path in out.glob("trials/*.json")}
    assert before < written
    assert scores(api.load(out)) == scores(api.load(finished))


def wait_until(holds: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)


def test_a_trial_ends_with_the_process_that_asked_for_it(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    raw = toy_file(toy_model, toy_data)
    raw["conditions"] |= {"epochs": 5_000}
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    script = f"import loralab; loralab.run(loralab.read_experiment({str(file)!r}), {str(tmp_path / 'out')!r})"
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: list((tmp_path / "out").glob("trials/tuning-*.log")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not session_members(process.pid))


def session_members(session: int) -> list[int]:
    import psutil

    members = []
    for found in psutil.process_iter():
        try:
            if os.getsid(found.pid) == session and found.status() != psutil.STATUS_ZOMBIE:
                members.append(found.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


class KillsTheFirst(Silent):
    """Kills the first trial's process once it trains, as a system short of memory would."""

    def __init__(self) -> None:
        self.killed = False

    def progress(self, moment: Progress) -> None:
        if moment.activity == "training" and not self.killed:
            import multiprocessing

            (child,) = multiprocessing.active_children()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            self.killed = True


def test_a_killed_trial_is_a_failure_and_the_others_go_on(toy_experiment: Experiment, tmp_path: Path) -> None:
    from loralab.plan import tuning_trials

    trials = tuning_trials(toy_experiment)[:2]
    results = list(LocalProcesses().run(trials, tmp_path, KillsTheFirst()))
    assert isinstance(results[0], Failure)
    assert results[0].reason == "killed"
    assert "status -9" in results[0].message
    assert isinstance(results[1], Measurement)


def talking(watch: Watch, done: Path) -> str:
    """Tell of more than any pipe holds, then leave a word that it's done."""
    for step in range(20_000):
        watch(Progress("a trial", "training", step, 20_000))
    done.touch()
    return "the result"


def test_a_terminal_that_stands_still_does_not_hold_up_the_work(tmp_path: Path) -> None:
    """Else its time would be the arm's."""
    done, heard = tmp_path / "done", list[int]()

    def stand_still(moment: Progress) -> None:
        wait_until(done.exists)
        heard.append(moment.step)

    assert in_fresh_process(partial(talking, done=done), tmp_path / "log", stand_still) == "the result"
    assert heard == list(range(20_000))


def counts_stops(_: Watch) -> bool:
    return signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL


def test_a_process_of_its_own_leaves_out_the_time_in_which_it_was_stopped(tmp_path: Path) -> None:
    assert in_fresh_process(counts_stops, tmp_path / "log", lambda _: None)


def unpicklable(_: Watch) -> object:
    return lambda: None


def test_a_result_that_cannot_be_sent_is_told_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ProcessEndedError, match=r"(?s)status 1.*pickle"):
        in_fresh_process(unpicklable, tmp_path / "log", lambda _: None)


def seen_here(_: Watch) -> str:
    return os.environ.get("HF_TEST", "")


def test_variables_that_change_reach_the_processes_that_come_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook, where a token is set after the first try."""
    assert in_fresh_process(seen_here, tmp_path / "log", lambda _: None) == ""
    monkeypatch.setenv("HF_TEST", "a token")
    assert in_fresh_process(seen_here, tmp_path / "log", lambda _: None) == "a token"


def test_the_first_variable_that_is_set_reaches_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh._of_server.cache_clear()
    monkeypatch.setattr(fresh, "_has_gpu", lambda: False)
    monkeypatch.setattr(fresh, "_variables", dict)
    before = fresh._context().get_start_method()
    monkeypatch.setattr(fresh, "_variables", lambda: {"HF_TOKEN": "a token"})
    after = fresh._context().get_start_method()
    fresh._of_server.cache_clear()
    assert after == "spawn"
    assert before == ("forkserver" if sys.platform == "linux" else "spawn")


@pytest.mark.parametrize(("status", "was_killed"), [(-9, True), (-15, True), (255, True), (-11, False), (1, False)])
def test_a_process_that_somebody_ended_is_told_from_one_that_broke(
    status: int, was_killed: bool, tmp_path: Path
) -> None:
    assert ProcessEndedError(status, tmp_path / "log").was_killed is was_killed


class Stub:
    """A place that gives prepared results."""

    def __init__(self, crashing: str | None, known: dict[str, Measurement | Failure]) -> None:
        self.crashing, self.known = crashing, known
        self.asked: list[str] = []

    def run(self, trials: Sequence[Trial], folder: Path, watcher: Watcher) -> Iterator[Measurement | Failure]:
        for trial in trials:
            self.asked.append(trial.id)
            failed = trial.id == self.crashing
            yield Failure(trial=trial, reason="crashed", message="a bug") if failed else self.known[trial.id]


def test_a_crashed_trial_is_carried_out_again_when_the_experiment_is(
    finished: Path, toy_experiment: Experiment, tmp_path: Path
) -> None:
    comparison = api.load(finished)
    results = [*comparison.tuning, *comparison.measurements, *comparison.untouched.measurements.values()]
    known = {result.trial.id: result for result in results}
    crashing = next(name for name in known if name.startswith("final-lora"))
    first = api.run(toy_experiment, tmp_path, place=Stub(crashing, known))
    assert [failure.reason for failure in first.failures] == ["crashed"]
    assert "crashed" in (tmp_path / "report.md").read_text(encoding="utf-8")
    again = Stub(None, known)
    second = api.run(toy_experiment, tmp_path, place=again)
    assert again.asked == [crashing]
    assert not second.failures
