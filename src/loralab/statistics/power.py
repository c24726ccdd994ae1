"""What a design can decide, before anything is spent.

An arm is called non-inferior to the baseline by a one-sided test of the margin. Of two arms that are truly equal, a
design shows this in 80 % of cases if the margin is at least the reach of that test and that of the 80 %: (1.64 + 0.84)
standard errors for many seeds and texts at a level of 5 %, and more for few seeds, whose part is tested by Student's t.
Over several arms Holm's first step takes the level through their number. Card et al. 2020 (arXiv:2010.06595) find that
most test sets are too small for the differences claimed.
"""

from __future__ import annotations

from bisect import bisect_left

from loralab.statistics.estimate import Estimate
from loralab.statistics.needed import MOST_SEEDS, POWER

DISAGREEMENT = 0.15  # share of test texts that one arm gets right and the other wrong, where nothing is known
MOST_ROWS = 100_000_000
LASTING = 0.5  # share of the disagreement that is the texts' own, the same for every seed; the rest is drawn anew


def smallest_margin(rows: int, seeds: int, level: float, disagreement: float = DISAGREEMENT) -> float:
    """Return the smallest margin, a share of texts, that a test set of `rows` and so many `seeds` can decide.

    `level` is that of the test of one arm.

    With disagreement p, a text's difference in correctness is -1, 0 or 1 with variance p, of which the texts' own part
    stays when seeds are averaged, and the rest is seen to differ from seed to seed. How much the arms differ from seed
    to seed as a whole isn't known before a run and is left out: the figure is a lower bound.
    """
    design = _design(rows, seeds, disagreement)
    return design.reach(level) + design.reach(1 - POWER)


def rows_needed(margin: float, seeds: int, level: float, disagreement: float = DISAGREEMENT) -> int:
    """Return how many test rows would decide `margin` with so many `seeds`, at most a hundred million."""

    def decides(rows: int) -> bool:
        return smallest_margin(rows, seeds, level, disagreement) <= margin

    counts = range(2, MOST_ROWS)
    return counts[min(bisect_left(counts, True, key=decides), len(counts) - 1)]


def seeds_needed(margin: float, rows: int, level: float, disagreement: float = DISAGREEMENT) -> int | None:
    """Return how many seeds, two at least, would decide `margin` on so many test `rows`, or None where no 100 would."""
    tried = range(2, MOST_SEEDS + 1)
    return next((seeds for seeds in tried if smallest_margin(rows, seeds, level, disagreement) <= margin), None)


def _design(rows: int, seeds: int, disagreement: float) -> Estimate:
    """Return the difference of two equal arms as this design would estimate it."""
    lasting, drawn = disagreement * LASTING / rows, disagreement * (1 - LASTING) / rows / seeds
    if seeds == 1:  # which can't tell the two apart
        return Estimate(0.0, 1, rows, 0.0, lasting + drawn, 0.0)
    return Estimate(0.0, seeds, rows, seed_variance=drawn, item_variance=lasting, interaction=drawn)
