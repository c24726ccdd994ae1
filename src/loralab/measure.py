"""Time and peak memory by phase, parameter counts, bytes on disk, and the machine they were taken on."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from loralab.results import Environment, Memory, Parameters

if TYPE_CHECKING:
    import torch
    from torch import nn

LIBRARIES = ("loralab", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy")


class PeakMemory(Protocol):
    """Something that knows the peak memory since it was last asked to start over."""

    how: str

    def start_over(self) -> None:
        """Forget the peak so far."""

    def peak(self) -> int:
        """Return the peak in bytes since `start_over`."""


class LinuxPeak:
    """Peak resident memory of this process as the kernel keeps it. See proc(5), `clear_refs`."""

    how = "peak resident memory of the process (VmHWM), reset at each phase"

    def start_over(self) -> None:
        """Reset the kernel's mark."""
        Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the kernel's mark."""
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


class SampledPeak:
    """Peak resident memory by looking every 20 ms, where the kernel keeps no mark that can be reset."""

    how = "resident memory of the process, looked at every 20 ms"

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._peak = self._process.memory_info().rss
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._peak = max(self._peak, self._process.memory_info().rss)
            time.sleep(0.02)

    def start_over(self) -> None:
        """Begin with what is resident now."""
        self._peak = self._process.memory_info().rss

    def peak(self) -> int:
        """Return the largest figure seen."""
        return max(self._peak, self._process.memory_info().rss)


class CudaPeak:
    """Peak of PyTorch's own allocator on the GPU."""

    how = "peak of the CUDA allocator, reset at each phase"

    def start_over(self) -> None:
        """Reset the allocator's mark."""
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the allocator's mark."""
        import torch

        return int(torch.cuda.max_memory_allocated())


def peak_memory(device: torch.device) -> PeakMemory:
    """Return the best means that this device and system have."""
    if device.type == "cuda":
        return CudaPeak()
    try:
        LinuxPeak().start_over()
    except OSError:  # not Linux, or a container that keeps /proc to itself
        return SampledPeak()
    return LinuxPeak()


class Meter:
    """Adds up seconds and keeps the peak memory of each phase; a phase inside another pauses the outer one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = peak_memory(device)
        self._phases: list[str] = []
        self._since = time.perf_counter()
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

    def memory(self) -> Memory:
        """Return the peaks of training and evaluation above the floor; None for a phase that never was."""
        floor = self._resident or 0
        above = {phase: max(0, peak - floor) for phase, peak in self._peaks.items()}
        return Memory(
            training=above.get("training"),
            evaluation=above.get("evaluation"),
            resident_before=self._resident,
            how=self._memory.how,
        )

    def _credit(self) -> None:
        """Give time and peak since the last call to the innermost phase."""
        _synchronise(self._device)
        now = time.perf_counter()
        if self._phases:
            phase = self._phases[-1]
            self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._since
            self._peaks[phase] = max(self._peaks.get(phase, 0), self._memory.peak())
        self._since = now
        self._memory.start_over()


def release_memory() -> None:
    """Give freed memory back to the system, so that one phase's leftovers aren't taken for the next one's need.

    glibc keeps what was freed, up to hundreds of megabytes, until it is told to trim. Elsewhere there is nothing to do.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _synchronise(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


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
