"""The time that this process had: seconds in which the terminal had stopped it (Ctrl-Z) are left out."""

from __future__ import annotations

import os
import signal
import time


class _Clock:
    """Counts the seconds in which the process stood still."""

    def __init__(self) -> None:
        self.stopped = 0.0

    def stand_still(self, *_: object) -> None:
        """Stop as one is asked to, and take the time until one goes on."""
        begun = time.perf_counter()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.stopped += time.perf_counter() - begun


_CLOCK = _Clock()


def now() -> float:
    """Return seconds since some moment."""
    return time.perf_counter() - _CLOCK.stopped


def leave_out_stops() -> None:
    """Count the time of stops from now on, where there are any; call it in the main thread of a process."""
    if hasattr(signal, "SIGTSTP"):  # not on Windows
        signal.signal(signal.SIGTSTP, _CLOCK.stand_still)
