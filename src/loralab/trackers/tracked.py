"""A watcher that passes on what it sees, to the one who watches and to the trackers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from loralab.experiment import Trial
from loralab.progress import Progress, Watcher
from loralab.results import Failure, Measurement, Point

if TYPE_CHECKING:
    from loralab.trackers import Tracker

Act = Callable[["Tracker"], None]
SHORT, LONG = 5, 60  # seconds that are waited at the end without a word, and then with one


class Tracked:
    """Watches with `watcher`, and lets `trackers` have the curves. One that fails is told of and left out from then.

    Trackers are called in a thread of their own, in order: one that waits for a server must not keep a trial waiting,
    whose messages come through a pipe with little room. Leaving the context waits for them, but not for ever.
    """

    def __init__(self, watcher: Watcher, trackers: Sequence[Tracker]) -> None:
        self._watcher = watcher
        self._trackers = list(trackers)
        self._under_way: Trial | None = None
        self._acts: SimpleQueue[Act | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Tracked:
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._acts.put(None)
        if error is None or issubclass(error, Exception):  # Ctrl-C waits for nobody
            self._wait()

    def expect(self, tuning: int, final: int, done: int) -> None:
        """Pass it on."""
        self._watcher.expect(tuning, final, done)

    def begin(self, trial: Trial) -> None:
        """Open every tracker."""
        self._watcher.begin(trial)
        self._open(trial)

    def progress(self, moment: Progress) -> None:
        """Let the trackers have a new point of the curves."""
        self._watcher.progress(moment)
        if (point := moment.point) is not None:
            self._acts.put(lambda tracker: tracker.log(_values(point), point.step))

    def finish(self, result: Measurement | Failure) -> None:
        """Close every tracker."""
        self._watcher.finish(result)
        if self._under_way != result.trial:  # a place need not tell when it begins
            self._open(result.trial)
        self._acts.put(lambda tracker: tracker.finish(result))
        self._under_way = None

    def warn(self, text: str) -> None:
        """Pass it on."""
        self._watcher.warn(text)

    def _wait(self) -> None:
        """Wait for the trackers to take what they were given."""
        self._thread.join(SHORT)
        if not self._thread.is_alive():
            return
        names = " and ".join(type(tracker).__name__ for tracker in self._trackers)
        self._watcher.warn(f"{names} did not take everything yet; waiting for {LONG} s at most")
        self._thread.join(LONG)
        if self._thread.is_alive():
            self._watcher.warn(f"{names} took too long: the last of the curves may be missing there")

    def _open(self, trial: Trial) -> None:
        self._under_way = trial
        self._acts.put(lambda tracker: tracker.begin(trial))

    def _work(self) -> None:
        while (act := self._acts.get()) is not None:
            self._each(act)

    def _each(self, act: Act) -> None:
        for tracker in list(self._trackers):
            try:
                act(tracker)
            except Exception as error:  # whatever a tracker's library, its disk or its network may meet
                self._trackers.remove(tracker)
                name = type(tracker).__name__
                self._watcher.warn(
                    f"{name} failed ({type(error).__name__}: {error}); no more goes there, training goes on"
                )


def _values(point: Point) -> dict[str, float]:
    """Return the values of a point by name, grouped as TensorBoard groups them."""
    found = {"epoch": point.epoch, "training/loss": point.training_loss}
    if point.training_accuracy is not None:
        found["training/accuracy"] = point.training_accuracy
    return found | {f"validation/{name}": value for name, value in (point.validation or {}).items()}
