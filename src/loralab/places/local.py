"""Each trial in a fresh process on this machine, one after the other, so that none meets another's memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from loralab.errors import UserError
from loralab.experiment import Trial
from loralab.progress import Progress, Watcher
from loralab.results import Failure, Measurement


class LocalProcesses:
    """Fresh processes from a forkserver that has imported the libraries, or by `spawn` on Windows and with CUDA."""

    def run(self, trials: Sequence[Trial], folder: Path, watcher: Watcher) -> Iterator[Measurement | Failure]:
        """Carry out `trials` in turn. Raises UserError where a trial met something that the user can put right."""
        context = _context()
        for trial in trials:
            watcher.begin(trial)
            yield _carry_out(context, trial, folder, watcher)


def _context() -> Any:
    import torch

    if sys.platform == "win32" or torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loralab.places.preload"])
    return context


def _carry_out(context: Any, trial: Trial, folder: Path, watcher: Watcher) -> Measurement | Failure:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(trial, folder, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        return _follow(ours, watcher)
    except EOFError:  # it ended without a word
        process.join()  # only then is its status known
        return Failure(
            trial=trial,
            reason="killed",
            message=f"the process ended with status {process.exitcode}"
            + (" (SIGKILL, as a system short of memory sends)" if process.exitcode == -9 else ""),
        )
    except BaseException:  # Ctrl-C, or a mistake that ends the experiment
        process.kill()
        raise
    finally:
        process.join()
        ours.close()


def _follow(connection: Connection, watcher: Watcher) -> Measurement | Failure:
    """Pass progress on until the result comes. Raises EOFError where none comes, and the UserError that was met."""
    while True:
        message = connection.recv()
        if isinstance(message, UserError):
            raise message
        if not isinstance(message, Progress):
            result: Measurement | Failure = message
            return result
        watcher.progress(message)


def _child(trial: Trial, folder: Path, connection: Connection) -> None:
    """Carry out `trial` in this process, and send its progress and its result."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = folder / "trials" / f"{trial.id}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:  # the libraries' warnings belong there, not into the live view
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from loralab.train import attempt

    try:
        connection.send(attempt(trial, folder, connection.send))
    except UserError as error:
        connection.send(UserError(str(error)))
    connection.close()


def _end_with_parent() -> None:
    """End this process when the one that asked for it is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
