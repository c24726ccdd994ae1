"""Each trial in a fresh process on this machine, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from loralab.checks import not_reloaded, of_saved
from loralab.experiment import Trial
from loralab.places.fresh import ProcessEndedError, in_fresh_process
from loralab.progress import Watch, Watcher
from loralab.rehearsal import Rehearsal, rehearse
from loralab.results import Failure, Measurement
from loralab.train import attempt

T = TypeVar("T")


class LocalProcesses:
    """Fresh processes on this machine."""

    def run(self, trials: Sequence[Trial], folder: Path, watcher: Watcher) -> Iterator[Measurement | Failure]:
        """Carry out `trials` in turn. Raises UserError where a trial met something that the user can put right."""
        for trial in trials:
            watcher.begin(trial)
            log = folder / "trials" / f"{trial.id}.log"
            yield _checked(_apart(trial, partial(attempt, trial, folder), log, watcher), folder, watcher)


def rehearse_apart(trial: Trial, folder: Path, watcher: Watcher) -> Rehearsal | Failure:
    """Rehearse `trial` in a fresh process. Raises UserError for what the user can put right."""
    return _apart(trial, partial(rehearse, trial, folder), folder / f"{trial.id}.log", watcher)


def _apart(trial: Trial, work: Callable[[Watch], T | Failure], log: Path, watcher: Watcher) -> T | Failure:
    try:
        return in_fresh_process(work, log, watcher.progress)
    except ProcessEndedError as error:
        return Failure(trial=trial, reason="killed", message=str(error))


def _checked(result: Measurement | Failure, folder: Path, watcher: Watcher) -> Measurement | Failure:
    """Add the checks of the model that a trial saved, from a fresh process: the trial's own may not start another.

    Where the system killed it, as one short of memory does, nothing is known, and the checks are left out.
    """
    if isinstance(result, Failure) or result.saved is None:
        return result
    log = folder / "trials" / f"{result.trial.id}.reload.log"
    try:
        found = in_fresh_process(partial(of_saved, result, folder), log, watcher.progress)
    except ProcessEndedError as error:
        found = () if error.was_killed else (not_reloaded(str(error)),)
    return result.model_copy(update={"checks": result.checks + found})
