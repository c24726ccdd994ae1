"""Where trials are carried out. A place has one verb: `run(trials, folder, watcher)` yields their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from loralab.experiment import Trial
from loralab.places.fresh import ProcessEndedError
from loralab.places.local import LocalProcesses
from loralab.progress import Watcher
from loralab.results import Failure, Measurement


class Place(Protocol):
    """Somewhere trials can be carried out."""

    def run(self, trials: Sequence[Trial], folder: Path, watcher: Watcher) -> Iterator[Measurement | Failure]:
        """Carry out `trials` and yield each result as it comes."""


__all__ = ["LocalProcesses", "Place", "ProcessEndedError"]
