"""What a design can decide, before anything is spent.

An arm is called non-inferior to the baseline by a one-sided test of the margin. Of two arms that are truly equal, a
design shows this in 80 % of cases if the margin is at least (1.64 + 0.84) standard errors at a level of 5 %; over
several arms Holm's first step takes the level through their number. Card et al. 2020 (arXiv:2010.06595) find that most
test sets are too small for the differences claimed.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from loralab.statistics.needed import POWER

DISAGREEMENT = 0.15  # share of test texts that one arm gets right and the other wrong, where nothing is known
LASTING = 0.5  # share of the disagreement that is the texts' own, the same for every seed; the rest is drawn anew


def smallest_margin(rows: int, seeds: int, level: float, disagreement: float = DISAGREEMENT) -> float:
    """Return the smallest margin, a share of texts, that a test set of `rows` and so many `seeds` can decide.

    `level` is that of the test of one arm.

    With disagreement p, a text's difference in correctness is -1, 0 or 1 with variance p, of which the texts' own part
    stays when seeds are averaged. How much the arms differ from seed to seed as a whole isn't known before a run and is
    left out: the figure is a lower bound.
    """
    return _errors_needed(level) * math.sqrt(_variance(seeds, disagreement) / rows)


def rows_needed(margin: float, seeds: int, level: float, disagreement: float = DISAGREEMENT) -> int:
    """Return how many test rows would decide `margin` with so many `seeds`."""
    return math.ceil(_variance(seeds, disagreement) * (_errors_needed(level) / margin) ** 2)


def seeds_needed(margin: float, rows: int, level: float, disagreement: float = DISAGREEMENT) -> int | None:
    """Return how many seeds would decide `margin` on so many test `rows`, or None where no number would."""
    room = rows * (margin / _errors_needed(level)) ** 2 / disagreement - LASTING
    return math.ceil((1 - LASTING) / room) if room > 0 else None


def _errors_needed(level: float) -> float:
    """Return how many standard errors the margin must measure."""
    return NormalDist().inv_cdf(1 - level) + NormalDist().inv_cdf(POWER)


def _variance(seeds: int, disagreement: float) -> float:
    return disagreement * (LASTING + (1 - LASTING) / seeds)
