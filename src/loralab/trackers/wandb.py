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

PROJECT = "loralab"


class Wandb:
    """Runs of the project `loralab`, or of WANDB_PROJECT; offline where nobody is logged in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mode = _mode()
        self._run: Any = None

    def begin(self, trial: Trial) -> None:
        """Open a run."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=self._folder.resolve().name,
            job_type=trial.stage,
            name=trial.id,
            config=settings(trial),
            dir=str(self._folder),
            mode=self._mode,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of every curve."""
        self._run.log(dict(values), step=step)

    def finish(self, result: Measurement | Failure) -> None:
        """Write down what came of it, and close."""
        self._run.summary.update(outcome(result))
        self._run.finish(exit_code=int(isinstance(result, Failure)))
        self._run = None


def _mode() -> Any:
    """Return what WANDB_MODE asks for; else online where there is an account, from WANDB_API_KEY or `wandb login`."""
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
