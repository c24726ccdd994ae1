"""Checks of what training came to: its curve, and the answers on the test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from loralab.checks.claim import Seen, claim
from loralab.results import Point
from loralab.tasks.items import Items, LabelScores


@claim("the loss fell")
def loss(curve: Sequence[Point]) -> Seen | None:
    """Compare the mean training loss of the last third of the curve's points with that of the first third.

    A loss that ends higher, but by less than three standard errors, tells nothing: an arm that learns little from a
    hard task has not gone wrong. The check is left out then, and so it is on fewer than nine points, from which the
    error can't be told. From a point to the next the loss changes by about the standard deviation of a point (the
    median change is 0.95 of it, for normal ones), whatever the trend.
    """
    losses = [point.training_loss for point in curve]
    third = len(losses) // 3
    if not third:
        return None
    first, last = fmean(losses[:third]), fmean(losses[-third:])
    error = median(abs(after - before) for before, after in pairwise(losses)) * (2 / third) ** 0.5
    if last >= first and (third < 3 or last - first < 3 * error):
        return None
    return last < first, f"{first:.4g} in the first third of {len(losses)} points, {last:.4g} in the last"


@claim("predictions name more than one label")
def predictions(items: Items) -> Seen | None:
    """Count the labels that the test texts were taken for, where they have more than one."""
    if not isinstance(items, LabelScores) or len(set(items.labels)) == 1:
        return None
    counts = Counter(items.predictions).most_common()
    label, most = counts[0]
    return len(counts) > 1, f"labels predicted: {len(counts)}; label {label} for {most} of {len(items.ids)} texts"
