"""What an error means for the trial that met it: an answer about the arm, a bug, or the user's to put right."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from loralab.errors import DivergedError, LosingError, UserError
from loralab.experiment import Trial
from loralab.memory import is_out_of_memory
from loralab.results import Failure

T = TypeVar("T")
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK_PHRASES = ("No space left on device", "not enough space on the disk", "quota exceeded")


def attempted(trial: Trial, work: Callable[[], T]) -> T | Failure:
    """Return what `work` gives for `trial`, or a Failure. Raises UserError for what the user can put right."""
    try:
        return work()
    except Exception as error:  # a trial that stumbles must not end the others; `_failure` tells which kind
        return _failure(trial, error)


def _failure(trial: Trial, error: Exception) -> Failure:
    if isinstance(error, UserError):
        raise error
    if is_full_disk(error):
        raise UserError(f"the disk is full ({error}); make room and start again: what is finished is kept") from error
    if isinstance(error, DivergedError):
        return Failure(trial=trial, reason="diverged", message=str(error))
    if isinstance(error, LosingError):
        return Failure(trial=trial, reason="losing", message=str(error))
    if is_out_of_memory(error):
        again = f"once there is more memory, remove trials/{trial.id}.json to carry it out again"
        return Failure(trial=trial, reason="out of memory", message=f"{error} ({again})")
    trace = "".join(traceback.format_exception(error))
    return Failure(trial=trial, reason="crashed", message=repr(error), traceback=trace)


def is_full_disk(error: BaseException) -> bool:
    """Tell whether there was no room on the disk.

    It looks along the chain of causes: safetensors and tokenizers wrap what the system says in types of their own.
    """
    return any(
        (isinstance(one, OSError) and one.errno in FULL_DISK) or any(phrase in str(one) for phrase in FULL_DISK_PHRASES)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
