"""What an experiment tells while it is carried out, and who listens."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from loralab.experiment import Trial
from loralab.results import Failure, Measurement, Point

TELL_EVERY = 0.5  # seconds between two words of progress

Activity = Literal["loading", "training", "validating", "evaluating", "saving", "checking"]


@dataclass(frozen=True)
class Progress:
    """A moment of one trial."""

    trial_id: str  # for places that carry out several at a time
    activity: Activity
    step: int = 0
    steps: int = 0
    loss: float | None = None  # nats a text or token, the mean since the last point of the curve
    tokens_per_second: float | None = None
    point: Point | None = None  # of the trial's curves, where there is a new one


Watch = Callable[[Progress], None]


class Teller:
    """Tells of one activity's progress, but not more often than a person can read."""

    def __init__(self, watch: Watch, trial: Trial, activity: Activity) -> None:
        self._watch, self._trial, self._activity = watch, trial, activity
        self._begun = self._told = time.perf_counter()

    def __call__(self, done: int, total: int, loss: float | None = None, tokens: int | None = None) -> None:
        """Tell that `done` of `total` are done; `tokens` counts those got through since the beginning."""
        now = time.perf_counter()
        if now - self._told >= TELL_EVERY or done == total:
            speed = None if tokens is None else tokens / (now - self._begun)
            self._watch(Progress(self._trial.id, self._activity, done, total, loss, speed))
            self._told = now


class Watcher(Protocol):
    """Whoever follows an experiment."""

    def expect(self, tuning: int, final: int, done: int) -> None:
        """Learn how many trials of either stage there are, as far as is known, and how many of all are done."""

    def begin(self, trial: Trial) -> None:
        """Learn that `trial` is being carried out."""

    def progress(self, moment: Progress) -> None:
        """Learn how far it is."""

    def finish(self, result: Measurement | Failure) -> None:
        """Learn what it gave."""

    def warn(self, text: str) -> None:
        """Learn of something that limits what the experiment can say."""


class Silent:
    """Nobody follows."""

    def expect(self, tuning: int, final: int, done: int) -> None:
        """Ignore it."""

    def begin(self, trial: Trial) -> None:
        """Ignore it."""

    def progress(self, moment: Progress) -> None:
        """Ignore it."""

    def finish(self, result: Measurement | Failure) -> None:
        """Ignore it."""

    def warn(self, text: str) -> None:
        """Pass it on as Python's own warning."""
        warnings.warn(text, stacklevel=3)
