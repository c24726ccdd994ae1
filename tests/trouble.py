"""What befalls trials, made on purpose."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from loralab.engine.batches import Step
from loralab.engine.stepping import Stepper


class Stopped(Exception):  # noqa: N818 - it stands for a kill, which is no error of the trial's
    """Stands for a SIGKILL."""


@contextmanager
def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stop the trial inside after so many steps; from now on, a checkpoint is written after each."""
    monkeypatch.setattr("loralab.engine.checkpoints.EVERY", 0.0)
    monkeypatch.setattr("loralab.engine.checkpoints.COST", float("inf"))
    take, taken = Stepper.take, list[Step]()

    def stopping(self: Stepper, step: Step) -> Any:
        if len(taken) == steps:
            raise Stopped
        taken.append(step)
        return take(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "take", stopping)
        with pytest.raises(Stopped):
            yield


def let_memory_run_out(task: type, work: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `work`, a method of the task, run out of memory on a batch of more than `most` examples."""
    plain = getattr(task, work)

    def short_of_memory(self: Any, network: Any, batch: Any, *others: Any) -> Any:
        if len(batch["labels"]) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(self, network, batch, *others)

    monkeypatch.setattr(task, work, short_of_memory)
