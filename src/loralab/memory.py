"""Memory: its peak by phase, what is free, and giving it back. Everything peculiar to the operating system."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, TypeVar

import psutil

from loralab.errors import told_as

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
CGROUP, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# By the kinds of a control group, of both versions: where they lie, and the files with their limit, their usage, and
# what of it is a cache.
GROUP_FILES = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


class PeakMemory(Protocol):
    """Something that knows the peak memory since it was last asked to start over."""

    how: str

    def start_over(self) -> None:
        """Forget the peak so far."""

    def peak(self) -> int | None:
        """Return the peak in bytes since `start_over`, or None where it is unknown."""


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
        self._lock = threading.Lock()
        self._peak = self._process.memory_info().rss
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            resident = self._process.memory_info().rss
            with self._lock:
                self._peak = max(self._peak, resident)
            time.sleep(0.02)

    def start_over(self) -> None:
        """Begin with what is resident now."""
        with self._lock:
            self._peak = self._process.memory_info().rss

    def peak(self) -> int:
        """Return the largest figure seen."""
        return max(self._peak, self._process.memory_info().rss)


class UnknownPeak:
    """A device whose memory can't be asked for its peak."""

    def __init__(self, device: str) -> None:
        self.how = f"unknown: the peak of a device of type {device} isn't asked for"

    def start_over(self) -> None:
        """Do nothing."""

    def peak(self) -> None:
        """Return that it is unknown."""


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
    if device.type != "cpu":
        return UnknownPeak(device.type)
    try:
        LinuxPeak().start_over()
    except OSError:  # not Linux, or a container that keeps /proc to itself
        return SampledPeak()
    return LinuxPeak()


def release_memory() -> None:
    """Give freed memory back to the system, so that one phase's leftovers aren't taken for the next one's need.

    glibc keeps what was freed, up to hundreds of megabytes, until it is told to trim, and so do the allocators of GPUs.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.xpu.is_available():
        torch.xpu.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Let glibc give back what was freed in between: holes that the next tensor doesn't fit would add up."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


OUT_OF_MEMORY = (
    "can't allocate memory",  # torch on Linux, which has no type of its own for it on the CPU,
    "not enough memory",  # and on Windows
    "Cannot allocate memory",  # the system's own words, of a file of weights that can't be mapped
    "std::bad_alloc",
    "out of memory",  # CUDA's and MPS's own words
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the error says that there was not enough memory."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(phrase in str(error) for phrase in OUT_OF_MEMORY)


def memory_told_as(told: Callable[[Exception], Exception]) -> AbstractContextManager[None]:
    """Raise what `told` makes of the error where memory runs out inside; other errors are raised as they are."""
    return told_as(is_out_of_memory, told)


class NoRoomError(MemoryError):
    """Memory ran out for something that smaller parts would not spare."""


def in_parts_that_fit(size: int, work: Callable[[int], T]) -> T:
    """Return what `work` gives with parts of `size`, or of half that, down to one, where memory runs out.

    Raises whatever else `work` raises.
    """
    while True:
        try:
            return work(size)
        except Exception as error:  # libraries have many types for it; what isn't it is raised again
            if size == 1 or isinstance(error, NoRoomError) or not is_out_of_memory(error):
                raise
        size = (size + 1) // 2
        release_memory()


def free_on(device: torch.device) -> int:
    """Return the bytes that this process may still take of the memory in which it trains."""
    import torch

    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def free_memory() -> int:
    """Return the bytes that this process may still take: what the machine has left, or its container."""
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups()]))


def _left_in_groups() -> Iterator[int]:
    """Yield what each of Linux's control groups leaves, a container's or a job's, that this process is in."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, inside = line.split(":", 2)  # such as '0::/user.slice/job', or of the first version '7:memory:/job'
        if kinds not in GROUP_FILES:
            continue
        base, *names = GROUP_FILES[kinds]
        for group in (PurePosixPath(inside), *PurePosixPath(inside).parents):
            yield from _left_in(CGROUP / base / group.relative_to("/"), *names)


def _left_in(group: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    try:
        most = int((group / limit).read_text())  # the word 'max' where there is no limit
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield most - (int((group / usage).read_text()) - int(kept[cache]))  # a cache gives way
    except (OSError, ValueError, KeyError):
        return


def keep_few_kernels() -> None:
    """Let torch's CPU library keep the kernels of a few shapes: call it before anything is computed.

    oneDNN (and ideep, its layer in torch) prepares a kernel for every shape and keeps 1,024 with their working memory.
    Where every batch has a length of its own, that came to a quarter or more of a training's memory, and the peak grew
    with the number of steps. So many hold those that one batch needs, of its linear layers and its attention, for all
    layers of the network (torch 2.13). Whoever has set the variables is left alone.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "32")


def limit_memory(more: int) -> None:
    """Let the system refuse this process more than `more` further bytes, where it can.

    Linux hands out memory that it hasn't got, and kills whoever then uses it. A refusal is an error that can be caught
    and answered with smaller batches. Not on machines with a GPU: its driver reserves more addresses than there is
    memory.
    """
    if sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text()
    data = int(next(line for line in status.splitlines() if line.startswith("VmData")).split()[1]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data + more
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
