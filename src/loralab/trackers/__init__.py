"""Where the curves of trials go besides the report: TensorBoard, Weights & Biases, MLflow.

A tracker opens for a trial, takes values step by step, and closes with the trial's result. It only looks on: what goes
wrong in it is told once, and the experiment goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from loralab.errors import UserError, unknown_name
from loralab.experiment import Trial
from loralab.results import Failure, Measurement
from loralab.trackers.tracked import Tracked

__all__ = ["NAMES", "Tracked", "Tracker", "open_tracker", "open_trackers"]

_CLASSES = {"tensorboard": "TensorBoard", "wandb": "Wandb", "mlflow": "MLflow"}  # by module: each needs its library
NAMES = tuple(_CLASSES)


class Tracker(Protocol):
    """Somewhere curves go. Trials are tracked one after the other."""

    def begin(self, trial: Trial) -> None:
        """Open for `trial`."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the values that its curves have after an optimizer step."""

    def finish(self, result: Measurement | Failure) -> None:
        """Take the settings and what came of them, and close."""


def open_tracker(name: str, folder: Path) -> Tracker:
    """Return the tracker `name` for the results folder `folder`. Raises UserError where it can't be had.

    Nothing is written before the first trial.
    """
    if name not in NAMES:
        raise UserError(f"--track: {unknown_name('tracker', name, NAMES)}")
    try:
        tracker: Tracker = getattr(import_module(f"loralab.trackers.{name}"), _CLASSES[name])(folder)
    except ImportError as error:
        raise UserError(f"--track {name}: {error}; pip install 'loralab[{name}]' brings it") from None
    except Exception as error:  # whatever its library has against the settings, such as a key of the wrong length
        raise UserError(f"--track {name}: it can't be opened ({error})") from error
    return tracker


def open_trackers(trackers: Sequence[str | Tracker], folder: Path) -> list[Tracker]:
    """Return the trackers, those that are given by their name opened for the results folder `folder`."""
    return [open_tracker(one, folder) if isinstance(one, str) else one for one in trackers]
