"""Every arm less the baseline in a metric, paired by seed and by test item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loralab.fairness import ByArm
from loralab.results import Measurement
from loralab.statistics.estimate import Estimate, crossed
from loralab.statistics.resampling import resample
from loralab.tasks import Task
from loralab.tasks.metrics import Metric


def differences(arms: ByArm, baseline: str, metric: Metric, task: Task, draws: int) -> dict[str, Estimate]:
    """Estimate each arm's difference from the baseline.

    An arm is left out where it shares no seed with the baseline, or was scored on other items.
    """
    base = {seed: found for seed, found in arms[baseline].items() if found.items is not None}
    if not base:
        return {}
    pairs = {
        (name, seed): found
        for name, seeds in arms.items()
        for seed, found in seeds.items()
        if seed in base and _has_items_of(found, base[seed])
    }
    totals = np.stack([_contributions(found, metric, task) for found in pairs.values()], axis=1)
    scores = task.score_of_means(metric.name, totals.mean(axis=0, dtype=np.float64))  # (pairs)
    drawn = resample(totals, lambda means: task.score_of_means(metric.name, means), draws)  # (draws, pairs)
    column = {pair: place for place, pair in enumerate(pairs)}
    estimates = {}
    for name in arms:
        own = [place for (arm, _), place in column.items() if arm == name]
        of_baseline = [column[baseline, seed] for arm, seed in pairs if arm == name]
        if own:
            estimates[name] = crossed(
                scores[own] - scores[of_baseline],
                drawn[:, own] - drawn[:, of_baseline],
                items=len(totals),
                # Where two classifiers answer alike, the next item may still tell them apart.
                least_item_variance=len(totals) ** -2.0 if metric.is_fraction and name != baseline else 0.0,
            )
    return estimates


def right_by_seed(own: Mapping[int, Measurement], task: Task) -> dict[int, list[bool]]:
    """Tell for every seed which items were answered right."""
    return {seed: task.right(found.items) for seed, found in own.items() if found.items is not None}


def _has_items_of(found: Measurement, other: Measurement) -> bool:
    return found.items is not None and other.items is not None and found.items.ids == other.items.ids


def _contributions(found: Measurement, metric: Metric, task: Task) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    assert found.items is not None
    return task.contributions(metric.name, found.items, len(found.data.label_names))
