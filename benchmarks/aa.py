"""Compares an arm with itself in real trainings: how often is a direction claimed that isn't there?

    python benchmarks/aa.py --out DIR [--comparisons 20]

Carries out the recipe `aa-check` so many times, each time with seeds of its own, and writes `benchmarks/aa.md`. Goes on
from what `--out` holds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scipy.stats import binomtest

from loralab import api
from loralab.comparison import Comparison
from loralab.files import read_experiment
from loralab.report import numbers
from loralab.statistics.decisions import Direction

SEEDS = 3  # of one comparison
MOST_OF_TWENTY = 3  # directions that chance may well claim
HEADER = """# An arm against itself

`python benchmarks/aa.py --out DIR`: LoRA against the same LoRA with other seeds, on the quickstart's data, {count}
times with {seeds} seeds each. {machine}.

**{claimed} of {count} comparisons claimed a direction**; the 95 % Clopper-Pearson interval of that share is {low:.0f}
to {high:.0f} %. At a level of 5 % at most one in twenty is expected: one
method under two names differs by its seeds alone, so that what seeds cost is tested here, not items.

| seeds | difference, points (95 %) | direction | margin of {margin} |
| --- | ---: | --- | --- |
"""


def main() -> None:
    """Run the comparisons and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--comparisons", type=int, default=20)
    given = parser.parse_args()
    found = []
    for number in range(given.comparisons):
        seeds = list(range(number * SEEDS, (number + 1) * SEEDS))
        found.append(api.run(read_experiment("aa-check", {"seeds": seeds}), given.out / f"{number:02}"))
        print(row(found[-1]), flush=True)
    claimed = sum(one.verdicts["lora-again"].direction is not Direction.NOT_SHOWN for one in found)
    low, high = binomtest(claimed, len(found)).proportion_ci(method="exact")
    machine = found[0].measurements[0].environment
    text = HEADER.format(
        count=len(found),
        seeds=SEEDS,
        claimed=claimed,
        low=100 * low,
        high=100 * high,
        margin=numbers.margin(found[0].experiment.primary_margin, found[0].experiment.primary_metric),
        machine=f"{machine.device_name}, torch {machine.versions['torch']}",
    )
    Path(__file__).with_name("aa.md").write_text(text + "\n".join(map(row, found)) + "\n", encoding="utf-8")
    if claimed > MOST_OF_TWENTY / 20 * len(found):
        raise SystemExit(f"{claimed} of {len(found)} comparisons claimed a direction that isn't there")


def row(comparison: Comparison) -> str:
    """Return a line of the table."""
    verdict, metric = comparison.verdicts["lora-again"], comparison.experiment.primary_metric
    difference = numbers.differences(verdict.gain.value, verdict.gain.interval(), metric)
    seeds = ", ".join(map(str, comparison.seeds))
    return f"| {seeds} | {difference} | {verdict.direction.value} | {verdict.margin_answer.value} |"


if __name__ == "__main__":
    main()
