"""What `torch.compile` would cost and save: training steps of DistilBERT's size, at several lengths.

    python benchmarks/compiled.py

LoRA with dropout, 8 texts, in the precision that training takes here unless one is named: plain; compiled as by
default, which makes a graph for the first length and one for all others; and compiled for all lengths from the start.
The first step at a length holds what compiling took; of the others the table, written into docs/engine.md, has medians
of `--repeats`. It needs a C++ compiler. Run nothing beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from asking import machine_here
from loralab.engine.precision import Precision
from marks import put
from parts import asked, build, step

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
LENGTHS = (64, 128, 192, 256)
WAYS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda network: network,
    "compiled": torch.compile,
    "compiled for all lengths": lambda network: torch.compile(network, dynamic=True),
}


def main() -> None:
    """Time the ways one after the other, and write the table."""
    repeats, precision = asked(__doc__, 5)
    columns = [timed(make, precision, repeats) for make in WAYS.values()]
    lines = [
        f"{machine_here(precision)}; median of {repeats}.",
        "",
        f"| tokens | {' | '.join(f'{way}: first step | later ones' for way in WAYS)} |",
        f"| ---: |{' ---: |' * 2 * len(WAYS)}",
    ]
    for place, length in enumerate(LENGTHS):
        cells = [f"{column[place][0]:.1f} s | {1000 * column[place][1]:.0f} ms" for column in columns]
        lines.append(f"| {length} | {' | '.join(cells)} |")
    put(DOCUMENT, f"compiled in {precision}", "\n".join(lines))
    print("\n".join(lines))


def timed(make: Callable[[Any], Any], precision: Precision, repeats: int) -> list[tuple[float, float]]:
    """Return for each length the seconds of the first step, and of the later ones."""
    torch.compiler.reset()
    network = make(build("lora", 0.1, []))
    found = []
    for length in LENGTHS:
        first, *later = (_seconds_of_a_step(network, length, precision) for _ in range(1 + repeats))
        found.append((first, median(later)))
    return found


def _seconds_of_a_step(network: Any, length: int, precision: Precision) -> float:
    begun = time.perf_counter()
    step(network, precision, length)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
