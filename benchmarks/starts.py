"""How long the trials of a finished run took outside training and scoring: starting, loading, saving, checking.

    python benchmarks/starts.py runs/quickstart

Told by when each result was written, less the seconds that it holds of training, validation and evaluation; the first
trial, before which everything is looked at once, stands apart. The table is written into docs/engine.md.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

from loralab import load
from loralab.results import Measurement
from marks import put
from table import told

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"


def main() -> None:
    """Read the run, and write the table."""
    folder = Path(sys.argv[1])
    found = [one for one in load(folder).results.values() if isinstance(one, Measurement)]
    written = {one.trial.id: (folder / "trials" / f"{one.trial.id}.json").stat().st_mtime for one in found}
    found.sort(key=lambda one: written[one.trial.id])
    outside: dict[str, list[float]] = {"tuning": [], "final": []}
    for before, one in pairwise(found):
        seconds = written[one.trial.id] - written[before.trial.id]
        outside[one.trial.stage].append(seconds - at_work(one))
    lines = [
        f"{told(found[0].environment.model_dump())}.",
        "",
        "| trials | seconds outside training and scoring, median | from | to |",
        "| --- | ---: | ---: | ---: |",
    ]
    for stage, spent in outside.items():
        lines.append(f"| {stage} | {median(spent):.1f} | {min(spent):.1f} | {max(spent):.1f} |")
    put(DOCUMENT, "starts", "\n".join(lines))
    print("\n".join(lines))


def at_work(found: Measurement) -> float:
    """Return the seconds of training, validation and evaluation."""
    return found.seconds.training + found.seconds.validation + found.seconds.evaluation


if __name__ == "__main__":
    main()
