"""Time and peak memory by phase, parameter counts, bytes on disk, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from loralab import clock
from loralab.memory import peak_memory
from loralab.results import Environment, Held, Memory, Parameters
from loralab.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import nn

LIBRARIES = ("loralab", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy")


class Spent(Settings):
    """What a trial's phases took before it was stopped, kept in its checkpoint."""

    seconds: dict[str, float]
    memory: dict[str, int]  # peak bytes above the floor


class Meter:
    """Adds up seconds and keeps the peak memory of each phase; a phase inside another pauses the outer one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = peak_memory(device)
        self._phases: list[str] = []
        self._since = clock.now()
        self._seconds: dict[str, float] = {}
        self._peaks: dict[str, int] = {}
        self._resident: int | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Credit what happens inside to `name`, and to no phase around it."""
        self._credit()
        self._phases.append(name)
        try:
            yield
        finally:
            self._credit()
            self._phases.pop()

    def mark_resident(self) -> None:
        """Take what is resident now as the floor above which memory is told: call it before the model is loaded."""
        self._memory.start_over()
        self._resident = self._memory.peak()

    def seconds(self, phase: str) -> float:
        """Return the seconds spent in `phase` so far."""
        self._credit()
        return self._seconds.get(phase, 0.0)

    def memory(self, held: Held | None = None) -> Memory:
        """Return the peaks of training and evaluation above the floor; None for a phase that never was.

        `held`: what training held all the time.
        """
        above = self._above_floor()
        return Memory(
            training=above.get("training"),
            evaluation=above.get("evaluation"),
            resident_before=self._resident,
            how=self._memory.how,
            held=held,
        )

    def spent(self, phases: Collection[str]) -> Spent:
        """Return what `phases` took so far."""
        self._credit()
        memory = self._above_floor()
        return Spent(
            seconds={phase: self._seconds[phase] for phase in phases if phase in self._seconds},
            memory={phase: memory[phase] for phase in phases if phase in memory},
        )

    def resume(self, spent: Spent) -> None:
        """Add what was spent before the trial was stopped."""
        floor = self._resident or 0
        for phase, seconds in spent.seconds.items():
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds
        for phase, above in spent.memory.items():
            self._peaks[phase] = max(self._peaks.get(phase, 0), floor + above)

    def _above_floor(self) -> dict[str, int]:
        floor = self._resident or 0
        return {phase: max(0, peak - floor) for phase, peak in self._peaks.items()}

    def _credit(self) -> None:
        """Give time and peak since the last call to the innermost phase."""
        _synchronise(self._device)
        now = clock.now()
        if self._phases:
            phase = self._phases[-1]
            self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._since
            peak = self._memory.peak()
            if peak is not None:
                self._peaks[phase] = max(self._peaks.get(phase, 0), peak)
        self._since = now
        self._memory.start_over()


def _synchronise(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    elif device.type == "xpu":
        torch.xpu.synchronize(device)


def count_parameters(network: nn.Module) -> Parameters:
    """Count single weights, tied ones once."""
    parameters = list(network.parameters())
    return Parameters(
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        total=sum(parameter.numel() for parameter in parameters),
    )


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files below `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def environment(device: torch.device, precision: str) -> Environment:
    """Describe the machine and the libraries."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return Environment(
        device=device.type,
        device_name=name,
        threads=torch.get_num_threads(),
        platform=platform.platform(),
        python=platform.python_version(),
        precision=precision,
        versions={library: found for library in LIBRARIES if (found := _version(library)) is not None},
        commit=_commit(),
    )


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name and its cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"


def _commit() -> str | None:
    """Return the commit of loralab's own checkout, with '+' where it was changed since, or None outside one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        if not git("ls-files", "measure.py"):  # installed inside somebody else's checkout
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None
