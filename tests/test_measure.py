import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from loralab.measure import Meter, bytes_in, environment
from loralab.memory import LinuxPeak, SampledPeak, free_memory, peak_memory, release_memory

CPU = torch.device("cpu")
MEGABYTE = 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets; no test waits."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_phase_inside_another_pauses_it(clock: list[float]) -> None:
    meter = Meter(CPU)
    with meter.phase("training"):
        clock[0] += 3
        with meter.phase("validation"):
            clock[0] += 10
        clock[0] += 1
    clock[0] += 100
    with meter.phase("training"):
        clock[0] += 2
    assert (meter.seconds("training"), meter.seconds("validation"), meter.seconds("saving")) == (6, 10, 0)


def test_what_was_spent_before_a_stop_counts(clock: list[float]) -> None:
    before, after = Meter(CPU), Meter(CPU)
    before.mark_resident()
    after.mark_resident()
    with before.phase("training"):
        clock[0] += 3
    spent = before.spent(("training",))
    after.resume(spent.model_copy(update={"memory": {"training": 10**12}}))
    with after.phase("training"):
        clock[0] += 2
    assert after.seconds("training") == 5
    assert after.memory().training == 10**12


@pytest.mark.parametrize("make", [lambda: peak_memory(CPU), SampledPeak], ids=["the kernel's", "sampled"])
def test_a_peak_is_seen_after_it_has_passed_and_can_be_forgotten(make: Callable[[], LinuxPeak | SampledPeak]) -> None:
    kind = make()
    release_memory()
    kind.start_over()
    before = kind.peak()
    block = torch.ones(60 * MEGABYTE // 4)
    time.sleep(0.1)
    del block
    release_memory()
    assert kind.peak() - before > 50 * MEGABYTE
    kind.start_over()
    assert kind.peak() - before < 30 * MEGABYTE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands out memory that it hasn't got")
def test_memory_that_is_not_there_is_refused_instead_of_ending_the_process() -> None:
    """In a process of its own, as the limit stays."""
    script = (
        "import torch; from loralab.memory import limit_memory; limit_memory(200_000_000)\n"
        "try: torch.zeros(300_000_000, dtype=torch.uint8)\n"
        "except RuntimeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "can't allocate memory" in done.stdout


def test_free_memory_is_what_a_container_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 500\ninactive_file 150\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr("loralab.memory.CGROUP", tmp_path)
    monkeypatch.setattr("loralab.memory.OWN_GROUPS", tmp_path / "own")
    assert free_memory() == 450
    (tmp_path / "memory.max").write_text("max")
    assert free_memory() > 1000


@pytest.mark.parametrize(
    ("own", "base", "names"),
    [
        ("0::/jobs/mine/step\n", "", ("memory.max", "memory.current", "inactive_file")),
        (
            "3:cpu,cpuacct:/\n7:memory:/jobs/mine/step\n",
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
    ids=["cgroup v2", "cgroup v1"],
)
def test_free_memory_is_what_the_groups_of_a_job_leave(
    own: str, base: str, names: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As under SLURM: the limit may stand at any group above the process's own."""
    limit, usage, cache = names
    group = tmp_path / base / "jobs" / "mine"
    (group / "step").mkdir(parents=True)
    for name, text in {limit: "2000", usage: "700", "memory.stat": f"{cache} 100\n"}.items():
        (group / name).write_text(text)
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr("loralab.memory.CGROUP", tmp_path)
    monkeypatch.setattr("loralab.memory.OWN_GROUPS", tmp_path / "own")
    assert free_memory() == 1400


def test_each_phase_has_its_own_peak_above_what_was_resident() -> None:
    meter = Meter(CPU)
    meter.mark_resident()
    with meter.phase("training"):
        block = torch.ones(80 * MEGABYTE // 4)
        del block
        release_memory()
    with meter.phase("evaluation"):
        pass
    memory = meter.memory()
    assert memory.training is not None
    assert memory.evaluation is not None
    assert memory.training > 70 * MEGABYTE
    assert memory.evaluation < 40 * MEGABYTE


def test_a_phase_that_never_was_has_no_memory() -> None:
    assert Meter(CPU).memory().training is None


def test_bytes_are_those_of_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "inner" / "b").write_bytes(b"45")
    assert bytes_in(tmp_path) == 5


def test_the_environment_names_device_threads_and_versions() -> None:
    found = environment(CPU, "float32")
    assert found.device == "cpu"
    assert found.threads == torch.get_num_threads()
    assert {"torch", "transformers", "peft", "loralab"} <= found.versions.keys()
