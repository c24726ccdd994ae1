"""One piece of work in a fresh process, so that it meets nobody else's memory and leaves none behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from ctypes.util import find_library
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from loralab.clock import leave_out_stops
from loralab.errors import UserError
from loralab.memory import free_memory, keep_few_kernels, limit_memory
from loralab.progress import Progress, Watch

T = TypeVar("T")
TAIL = 20  # lines of a log that a message quotes


class ProcessEndedError(Exception):
    """The process ended before it gave a result."""

    def __init__(self, status: int | None, log: Path) -> None:
        # SIGKILL, SIGTERM; 255 is what multiprocessing says where the server of processes itself is gone.
        self.was_killed = status in (-9, -15, 255)
        killed = " (killed, as by a system short of memory)" if self.was_killed else ""
        super().__init__(f"the process ended with status {status}{killed}\n{_tail(log)}".rstrip())


def _tail(log: Path) -> str:
    """Return the last lines of what the process printed."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
    except OSError:
        return ""


def in_fresh_process(work: Callable[[Watch], T], log: Path, watch: Watch) -> T:
    """Return what `work` gives, called in a process of its own with a channel to tell of progress.

    `work` and its result must pickle; what it prints goes to the file `log`. Raises the UserError that `work` raised,
    and ProcessEndedError where it ended otherwise.
    """
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, log, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        result: T = _follow(ours, watch)
    except EOFError:  # it ended without a word
        process.join()  # only then is its status known
        raise ProcessEndedError(process.exitcode, log) from None
    except BaseException:  # Ctrl-C, or a mistake that ends the experiment
        process.kill()
        raise
    finally:
        process.join()
        ours.close()
    return result


def _context() -> Any:
    """Fork from a server that has imported the libraries; spawn on Windows and where there may be a GPU."""
    if sys.platform in ("win32", "darwin") or _has_gpu():  # on macOS a forked process can't use Metal
        return multiprocessing.get_context("spawn")
    if _of_server() != _variables():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loralab.places.uninterrupted", "loralab.places.preload"])
    return context


def _variables() -> dict[str, str]:
    """Return the variables that change what a process does, as they are now."""
    return {name: value for name, value in os.environ.items() if name.startswith(("HF_", "LORALAB_", "OMP_", "MKL_"))}


@cache
def _of_server() -> dict[str, str]:
    """Return those that the server of processes keeps: as they were when it was first needed."""
    return _variables()


def _has_gpu() -> bool:
    """Tell whether a GPU's driver is installed. The system is asked, not torch: importing it would take seconds."""
    return bool(find_library("cuda") or find_library("amdhip64"))


def _follow(connection: Connection, watch: Watch) -> Any:
    """Pass progress on until the result comes. Raises EOFError where none comes, and the UserError that was met."""
    while True:
        try:
            message = connection.recv()
        except OSError as error:  # it ended in the middle of a message
            raise EOFError from error
        if isinstance(message, UserError):
            raise message
        if not isinstance(message, Progress):
            return message
        watch(message)


def _child(work: Callable[[Watch], object], log: Path, connection: Connection) -> None:
    """Do the work in this process, and send its progress and its result."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:  # the libraries' warnings belong there, not into the live view
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked, who ends this process
    leave_out_stops()
    _without_bars()
    keep_few_kernels()
    if not _has_gpu():
        limit_memory(free_memory())
    line = _Line(connection)
    try:
        line.send(work(line.send))
    except UserError as error:
        line.send(UserError(str(error)))
    finally:
        line.close()


class _Line:
    """Sends from a thread of its own, so that the work never waits for a reader who does, as for a stopped terminal."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def send(self, message: object) -> None:
        """Send what pickles; raises here what doesn't."""
        self._messages.put(bytes(ForkingPickler.dumps(message)))

    def close(self) -> None:
        """Return when everything was sent."""
        self._messages.put(None)
        self._thread.join()

    def _send_all(self) -> None:
        while (message := self._messages.get()) is not None:
            self._connection.send_bytes(message)
        self._connection.close()


def _without_bars() -> None:
    """Draw no progress bars, which no log is for."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _end_with_parent() -> None:
    """End this process when the one that asked for it is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
