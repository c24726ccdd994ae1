"""What an experiment tells while it is carried out, and who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from loralab.experiment import Trial
from loralab.results import Failure, Measurement

Activity = Literal["loading", "training", "validating", "evaluating", "saving"]


@dataclass(frozen=True)
class Progress:
    """A moment of one trial."""

    trial_id: str
    activity: Activity
    step: int = 0
    steps: int = 0
    loss: float | None = None  # nats a text, of the latest step
    tokens_per_second: float | None = None


Watch = Callable[[Progress], None]


class Watcher(Protocol):
    """Whoever follows an experiment."""

    def expect(self, trials: int, done: int) -> None:
        """Learn how many trials there are in all, as far as is known, and how many are done."""

    def begin(self, trial: Trial) -> None:
        """Learn that `trial` is being carried out."""

    def progress(self, moment: Progress) -> None:
        """Learn how far it is."""

    def finish(self, result: Measurement | Failure) -> None:
        """Learn what it gave."""


class Silent:
    """Nobody follows."""

    def expect(self, trials: int, done: int) -> None:
        """Ignore it."""

    def begin(self, trial: Trial) -> None:
        """Ignore it."""

    def progress(self, moment: Progress) -> None:
        """Ignore it."""

    def finish(self, result: Measurement | Failure) -> None:
        """Ignore it."""
