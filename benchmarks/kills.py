"""Kills an experiment at random instants, starts it again each time, and compares what it ends with.

    python benchmarks/kills.py --kills 200

A small experiment (a toy DistilBERT, two arms, checkpoints twice a second) is carried out once undisturbed, then
again and again, each start ended by SIGKILL after a random part of that time, its whole process group at once or the
leading process alone, until one start comes to its end; its results must equal the undisturbed ones in every number but
time and memory. A finished experiment is followed by a new one until there were so many kills. Prints a line for each
experiment and the outcome; the exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import WORDS, save_model, toy_file, write_data  # the toy model and data of the tests
from loralab import api


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["LORALAB_CHECKPOINT_SECONDS"] = "0.5"
    source = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        file = make_experiment(Path(scratch))
        begun = time.monotonic()
        start(file, Path(scratch) / "undisturbed").wait()
        longest = time.monotonic() - begun
        print(f"undisturbed: {longest:.0f} s", flush=True)
        expected = numbers(Path(scratch) / "undisturbed")
        kills, experiments, different, resumed = 0, 0, 0, 0
        while kills < given.kills:
            out = Path(scratch) / f"out-{experiments}"
            own = 0
            while not ended(file, out, source.uniform(0, longest), whole_group=source.random() < 0.5):
                own += 1
            kills, experiments = kills + own, experiments + 1
            found = numbers(out)
            different += found != expected
            resumed += sum(len(one.course.resumed) for one in api.load(out).measurements)
            print(
                f"experiment {experiments}: {own} kills, {'the same' if found == expected else 'DIFFERENT'}", flush=True
            )
    print(
        f"{kills} kills in {experiments} experiments; {resumed} times a final trial went on from a checkpoint; "
        f"{different} experiments ended with other numbers"
    )
    sys.exit(different > 0)


def make_experiment(folder: Path) -> Path:
    """Write model, data and experiment file; return the file."""
    raw = toy_file(save_model(folder / "model", dropout=0.1), write_data(folder / "data", list(WORDS)))
    raw["conditions"]["epochs"] = 8
    del raw["arms"]["head-only"]
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return file


def start(file: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the experiment in a session of its own."""
    command = [sys.executable, "-m", "loralab", "run", str(file), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def ended(file: Path, out: Path, seconds: float, *, whole_group: bool) -> bool:
    """Start once and kill after so many `seconds`; tell whether it came to its end before."""
    process = start(file, out)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return False
    if process.returncode != 0:
        raise SystemExit(f"a start ended by itself with status {process.returncode}")
    return True


def numbers(out: Path) -> Any:
    """Return every number but time and memory."""
    comparison = api.load(out)
    finals = [*comparison.measurements, *comparison.untouched.measurements.values()]
    tuning = {result.trial.id: getattr(result, "scores", None) for result in comparison.tuning}
    return tuning, {one.trial.id: (one.scores, one.items, one.curve, one.sameness) for one in finals}


if __name__ == "__main__":
    main()
