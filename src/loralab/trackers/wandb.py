"""Weights & Biases: a run for each trial, in a group for each experiment. Without an account it keeps them on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from loralab.experiment import Trial
from loralab.results import Failure, Measurement
from loralab.trackers.facts import outcome, settings
from loralab.trackers.open_runs import OpenRuns

PROJECT = "loralab"
STEP = "step"


class Wandb:
    """Runs of the project `loralab`, or of WANDB_PROJECT; offline where nobody is logged in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mode = _mode()
        self._run: Any = None
        self._open = OpenRuns(folder, "wandb")

    def begin(self, trial: Trial) -> None:
        """Open a run, or the one that the trial had when it was stopped."""
        self._folder.mkdir(parents=True, exist_ok=True)
        run = self._open.find(trial) if self._mode == "online" else None
        self._open.close(trial)  # it may have been deleted, and each try would fail
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=self._folder.resolve().name,
            job_type=trial.stage,
            id=run,
            resume="allow" if run else None,  # offline there is nothing to resume: the rest becomes a run of its own
            name=trial.id,
            config=settings(trial),
            dir=str(self._folder),
            mode=self._mode,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._open.keep(trial, self._run.id)
        # W&B's own count never goes back, as steps do where a trial goes on from a checkpoint or lacked memory.
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of every curve."""
        self._run.log({**values, STEP: step})

    def finish(self, result: Measurement | Failure) -> None:
        """Write down what came of it, and close."""
        self._run.summary.update(outcome(result))
        self._run.finish(exit_code=int(isinstance(result, Failure)))
        self._run = None
        if result.is_answer:
            self._open.close(result.trial)


def _mode() -> Any:
    """Return what WANDB_MODE asks for; else online where there is an account, from WANDB_API_KEY or `wandb login`."""
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
