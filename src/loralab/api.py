"""The straight line from a question to its answer: plan, run what is missing, choose, run the rest, compare."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from loralab import drafting, pretrained
from loralab.comparison import Comparison, compare
from loralab.data import AnyData
from loralab.data.rows import LabelledData, Rows, Text
from loralab.data.texts import shortened
from loralab.drafting import Draft
from loralab.engine.tokenised import keep_tokens
from loralab.errors import UserError
from loralab.experiment import Experiment, Trial
from loralab.folder import ResultsFolder
from loralab.forecast import ArmForecast, Forecast
from loralab.hub import as_path
from loralab.inspection import inspect_arms
from loralab.matching import match_parameters
from loralab.places import LocalProcesses, Place
from loralab.places.fresh import ProcessEndedError, in_fresh_process
from loralab.places.local import rehearse_apart
from loralab.plan import (
    Count,
    certain_trials,
    count_trials,
    extra_trials,
    tuning_trials,
)
from loralab.progress import Silent, Watch, Watcher
from loralab.rehearsal import Rehearsal
from loralab.report import planned, write_report
from loralab.results import Failure, Measurement, Parameters, require_same_data
from loralab.stored import stored
from loralab.trackers import Tracked, Tracker, open_trackers

T = TypeVar("T")
LONGEST_SHOWN = 600  # characters of a text in the report


def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    place: Place | None = None,
    watcher: Watcher | None = None,
    trackers: Sequence[str | Tracker] = ("tensorboard",),
) -> Comparison:
    """Carry out what is missing of `experiment` in the results folder, write the report, and return the comparison.

    Finished trials are files in `folder`: stopped at any moment and called again, it goes on where it was. In a script,
    call it under `if __name__ == "__main__":`, since trials run in processes of their own.

    `place`: where trials are carried out, in processes of this machine if not given. `watcher`: who follows them.
    `trackers`: where their curves go meanwhile, by name (tensorboard, wandb, mlflow) or your own.

    Raises UserError for what the user can put right, before anything is trained where that can be known.
    """
    with Tracked(watcher or Silent(), open_trackers(trackers, as_path(folder))) as tracked:
        return _run(experiment, ResultsFolder(as_path(folder)), place or LocalProcesses(), tracked)


def _run(experiment: Experiment, folder: ResultsFolder, place: Place, watcher: Watcher) -> Comparison:
    data = check(experiment)
    experiment = match(experiment)
    for warning in planned.too_small(experiment, len(data.test)):
        watcher.warn(warning)
    carrying = _Carrying(folder, place, watcher, data.sha256)
    _look_ahead(experiment, folder)
    with folder.locked():
        folder.keep_experiment(experiment, partial(pretrained.revisions, experiment.conditions.model), data.sha256)
        texts = _as_shown(data.test) if isinstance(data, LabelledData) else {}
        if texts:
            folder.keep_texts(texts)
        at_most = count_trials(experiment)[1]
        carrying.finish(tuning_trials(experiment), at_most)
        carrying.finish(extra_trials(experiment, carrying.results), at_most)
        comparison = compare(experiment, carrying.results)
        while comparison.missing:
            carrying.finish(comparison.missing, carrying.count(comparison.missing))
            comparison = compare(experiment, carrying.results)
        write_report(comparison, folder.path, texts)
    return comparison


def _as_shown(test: Rows) -> dict[str, Text]:
    """Return the texts by id, none longer than a screen."""
    return {name: shortened(text, LONGEST_SHOWN) for name, text in zip(test.ids, test.texts, strict=True)}


def load(folder: str | Path) -> Comparison:
    """Return the comparison of the trials that are finished in `folder`. Imports no torch.

    Raises UserError where the folder holds no experiment.
    """
    return compare(*stored(folder))


def report(folder: str | Path) -> Comparison:
    """Write the report again from the stored results, and return the comparison. Imports no torch."""
    comparison = load(folder)
    rewrite(comparison, folder)
    return comparison


def rewrite(comparison: Comparison, folder: str | Path) -> Path:
    """Write the report of the results folder `folder` again, whose comparison is at hand; return the page's path.

    Raises UserError where it can't be written.
    """
    return write_report(comparison, as_path(folder), ResultsFolder(as_path(folder)).texts())


def beside(folders: Sequence[str | Path]) -> dict[str, Comparison]:
    """Return the comparisons of several results folders, by the folders' names, or where two share one by their paths.

    Raises UserError.
    """
    names = [as_path(folder).resolve().name for folder in folders]
    told = [str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)]
    if len(set(told)) < len(told):
        raise UserError("a results folder is given twice")
    return {name: load(folder) for name, folder in zip(told, folders, strict=True)}


def draft(data: str, model: str | None = None, configuration: str | None = None) -> Draft:
    """Draft an experiment file for `data`, and for `model` or the usual one of the task. Raises UserError.

    `configuration`: of a hub data set that has several, or the folder of that name inside `data`.
    """
    return drafting.draft(data, model, configuration)


def check(experiment: Experiment) -> AnyData:
    """Find out, before anything is trained, that model and data can be used; return the data.

    Raises UserError. Imports no torch.
    """
    pretrained.locate(experiment.conditions.model)
    return experiment.conditions.task.read()


def match(experiment: Experiment) -> Experiment:
    """Choose the rank of every arm that is to train as many parameters as another, in a process of its own.

    Raises UserError with every mistake of these arms at once, and ProcessEndedError where the process ended before.
    """
    if all(arm.match_parameters is None for arm in experiment.arms.values()):
        return experiment
    return _apart(partial(match_parameters, experiment))


def inspect(experiment: Experiment) -> dict[str, Parameters]:
    """Adapt every arm's model in a process of its own, untrained, and return what each would train.

    Raises UserError with every mistake of the arms at once, and ProcessEndedError where the process ended before.
    """
    return _inspect(match(experiment))


def _inspect(matched: Experiment) -> dict[str, Parameters]:
    return _apart(partial(inspect_arms, matched))


def _apart(work: Callable[[], T]) -> T:
    """Return what `work` gives in a process of its own."""
    with TemporaryDirectory() as scratch:
        return in_fresh_process(partial(_unwatched, work), Path(scratch) / "log", Silent().progress)


def _unwatched(work: Callable[[], T], _: Watch) -> T:
    return work()


def forecast(experiment: Experiment, watcher: Watcher | None = None) -> Forecast:
    """Take a few real steps of every arm, each in a process of its own, and forecast what the experiment will take.

    Raises UserError, and ProcessEndedError where the system ended a process that counts or tokenises.
    """
    watcher, experiment = watcher or Silent(), match(experiment)
    # All arms' mistakes at once; and the first arm no longer pays for starting the server of processes.
    _inspect(experiment)
    trials = {trial.arm: trial for trial in certain_trials(experiment) if trial.learning_rate is not None}
    arms: dict[str, ArmForecast] = {}
    with TemporaryDirectory() as scratch:
        # Once an experiment, and no part of what a trial takes.
        _apart(partial(keep_tokens, experiment.conditions, Path(scratch)))
        for name, trial in trials.items():
            watcher.expect(0, len(trials), len(arms))
            watcher.begin(trial)
            begun = time.perf_counter()
            found = rehearse_apart(trial, Path(scratch), watcher)
            overhead = time.perf_counter() - begun - (found.spent if isinstance(found, Rehearsal) else 0.0)
            arms[name] = ArmForecast(found, overhead)
    return Forecast(experiment, arms)


class _Carrying:
    """An experiment under way: what is known so far, and how to learn the rest."""

    def __init__(self, folder: ResultsFolder, place: Place, watcher: Watcher, data_sha256: str) -> None:
        self.folder = folder
        self._data_sha256 = data_sha256
        self.results: dict[str, Measurement | Failure] = {}
        self._place = place
        self._watcher = watcher

    def count(self, missing: Sequence[Trial]) -> Count:
        """Return how many trials there are once those that are missing are carried out."""
        stages = Counter(trial.stage for trial in (*(result.trial for result in self.results.values()), *missing))
        return Count(stages["tuning"], stages["final"])

    def finish(self, trials: Sequence[Trial], expected: Count) -> None:
        """Carry out those of `trials` that the folder lacks; each result is kept before the next trial begins.

        `expected`: the trials that there are in all, as far as is known.
        """
        stored = {trial.id: self.folder.result(trial) for trial in trials}
        known = {name: result for name, result in stored.items() if result is not None and result.is_answer}
        self.results.update(known)
        self._watcher.expect(*expected, len(self.results))
        missing = [trial for trial in trials if trial.id not in known]
        for result in self._place.run(missing, self.folder.path, self._watcher):
            if isinstance(result, Measurement):
                require_same_data(result, self._data_sha256)
            self.folder.keep(result)
            self.results[result.trial.id] = result
            self._watcher.finish(result)


def _look_ahead(experiment: Experiment, folder: ResultsFolder) -> None:
    """Find the mistakes of arms that are new to the folder, before anything is spent on them or written."""
    known = folder.experiment().arms if folder.holds_experiment() else {}
    if experiment.arms.keys() - known.keys():
        with suppress(ProcessEndedError):  # what nobody foresaw is told by the trials that meet it
            _inspect(experiment)
