"""Every arm less the baseline in a metric, paired by seed and by test item."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from loralab.results import ByArm, Measurement
from loralab.statistics.estimate import Estimate, crossed
from loralab.statistics.resampling import Array, resample
from loralab.tasks import Task
from loralab.tasks.metrics import Metric


def differences(
    arms: ByArm, baseline: str, metrics: Sequence[Metric], task: Task, draws: int
) -> dict[str, dict[str, Estimate]]:
    """Estimate each arm's difference from the baseline, by metric and arm.

    An arm is left out where it shares no seed with the baseline, or was scored on other items.
    """
    base = {seed: found for seed, found in arms[baseline].items() if found.items is not None and found.items.ids}
    pairs = {
        (name, seed): found
        for name, seeds in arms.items()
        for seed, found in seeds.items()
        if seed in base and _have_the_same_items(found, base[seed])
    }
    if not pairs:
        return {}
    found: dict[str, dict[str, Estimate]] = {}
    # Metrics that are made from the same sums are drawn together.
    for _, alike in groupby(metrics, key=lambda metric: task.sums_of(metric.name)):
        together = list(alike)
        totals = np.stack([_contributions(one, together[0], task) for one in pairs.values()], axis=1)

        def score(means: Array, together: list[Metric] = together) -> Array:
            return np.stack([task.score_of_means(metric.name, means) for metric in together], axis=-1)

        scores = score(totals.mean(axis=0, dtype=np.float64))  # (pairs, metrics)
        drawn = resample(totals, score, draws)  # (draws, pairs, metrics)
        for place, metric in enumerate(together):
            found[metric.name] = _by_arm(
                list(pairs), baseline, scores[:, place], drawn[:, :, place], len(totals), metric
            )
    return found


def right_of_both(own: Measurement, baseline: Measurement, task: Task) -> tuple[list[bool], list[bool]] | None:
    """Tell which items each of the two answered right, or None where that can't be told."""
    if own.items is None or baseline.items is None or not _have_the_same_items(own, baseline):
        return None
    right, right_of_baseline = task.right(own.items), task.right(baseline.items)
    return None if right is None or right_of_baseline is None else (right, right_of_baseline)


def _by_arm(
    pairs: Sequence[tuple[str, int]], baseline: str, scores: Array, drawn: Array, items: int, metric: Metric
) -> dict[str, Estimate]:
    """Estimate each arm's difference from `scores`, (pairs), and `drawn`, (draws, pairs), of arms and seeds."""
    column = {pair: place for place, pair in enumerate(pairs)}
    estimates = {}
    for name in dict.fromkeys(arm for arm, _ in pairs):
        own = [column[arm, seed] for arm, seed in pairs if arm == name]
        of_baseline = [column[baseline, seed] for arm, seed in pairs if arm == name]
        # Where two classifiers answer alike, the next item may still tell them apart.
        least = items**-2.0 if metric.scale == "share" and name != baseline else 0.0
        estimates[name] = crossed(
            scores[own] - scores[of_baseline], drawn[:, own] - drawn[:, of_baseline], items, least
        )
    return estimates


def _have_the_same_items(found: Measurement, other: Measurement) -> bool:
    return found.items is not None and other.items is not None and found.items.ids == other.items.ids


def _contributions(found: Measurement, metric: Metric, task: Task) -> npt.NDArray[np.float32]:
    assert found.items is not None
    return task.contributions(metric.name, found.items)
