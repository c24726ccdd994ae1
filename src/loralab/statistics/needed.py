"""What it would take to decide, from the variances that were seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from loralab.statistics.decisions import MarginAnswer, Verdict
from loralab.statistics.estimate import Estimate, with_more

POWER = 0.8  # the chance of deciding, if the true difference is the one seen
MOST_SEEDS = 100
MOST_TIMES = 1000  # the test items at hand


def detectable(gain: Estimate, level: float) -> float:
    """Return the smallest true difference whose direction this design shows with a chance of `POWER`."""
    return gain.reach(level / 2) + gain.reach(1 - POWER)


def decides(gain: Estimate, margin: float, level: float) -> bool:
    """Tell whether a design with this error decides the margin with a chance of `POWER`, if the gain is as seen.

    What is called inferior must be shown to be worse, too.
    """
    spare = gain.reach(1 - POWER)
    is_shown = gain.value + margin >= 0 or gain.reach(level / 2) + spare <= abs(gain.value)
    return is_shown and gain.reach(level) + spare <= abs(gain.value + margin)


def seeds_needed(gain: Estimate, margin: float, level: float) -> int | None:
    """Return how many seeds on these items would decide the margin, or None where no number up to 100 would.

    With one seed it isn't known how much seeds differ.
    """
    if gain.seeds == 1:
        return None
    return next(
        (
            more
            for more in range(gain.seeds + 1, MOST_SEEDS + 1)
            if decides(with_more(gain, more, gain.items), margin, level)
        ),
        None,
    )


def items_needed(gain: Estimate, margin: float, level: float) -> int | None:
    """Return how many test items with these seeds would decide the margin, to a tenth, or None where none would.

    None is also returned where it would take more than a thousand times as many.
    """

    factors = (1.1**power for power in range(1, round(math.log(MOST_TIMES, 1.1)) + 1))
    tried = (math.ceil(gain.items * factor) for factor in factors)
    return next((items for items in tried if decides(with_more(gain, gain.seeds, items), margin, level)), None)


def both_needed(gain: Estimate, margin: float, level: float) -> tuple[int, int] | None:
    """Return seeds and test items, as many times as many of both, that would decide the margin; None as above."""
    if gain.seeds == 1:
        return None
    tried = ((times * gain.seeds, times * gain.items) for times in range(2, MOST_SEEDS // gain.seeds + 1))
    return next((both for both in tried if decides(with_more(gain, *both), margin, level)), None)


def is_beyond_seeds(gain: Estimate, margin: float, level: float) -> bool:
    """Tell whether the items' error alone would leave the margin open, so that no number of seeds would decide it.

    It must exceed the margin, and the distance from it that the gain may still turn out to have, now that other seeds
    would change it.
    """
    if gain.seeds == 1:
        return False
    of_items, of_seeds = replace(gain, seed_variance=0.0).reach(level), replace(gain, item_variance=0.0).reach(level)
    return of_items > max(margin, abs(gain.value + margin) + of_seeds)


def are_settled(verdicts: Iterable[Verdict]) -> bool:
    """Tell whether more seeds would hardly decide more: every arm is decided, or its items forbid it."""
    return all(
        verdict.margin_answer is not MarginAnswer.UNDECIDED
        or is_beyond_seeds(verdict.at_margin, verdict.margin, verdict.level)
        for verdict in verdicts
    )
