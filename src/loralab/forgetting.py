"""What an arm learnt, and what it lost elsewhere: its scores less those of the model before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loralab.differences import differences
from loralab.experiment import UNTOUCHED
from loralab.results import ByArm, Measurement
from loralab.statistics.estimate import Estimate
from loralab.tasks import Task
from loralab.tasks.metrics import Metric


@dataclass(frozen=True)
class Forgetting:
    """Changes since before training; negative is less perplexity."""

    metrics: tuple[Metric, ...]  # of the set that was trained for, and of each set from elsewhere
    changes: Mapping[str, Mapping[str, Estimate]]  # by metric and arm
    of_seeds: Mapping[str, Mapping[int, tuple[float, ...]]]  # by arm and seed: the change in each metric
    dominated: Mapping[str, str]  # arm -> one that learnt as much or more and lost no more anywhere, in the means


def forgetting(arms: ByArm, untouched: Measurement | None, task: Task, draws: int) -> Forgetting | None:
    """Hold every arm against the model before training, or return None where that says nothing.

    It says nothing where the model has a head that was drawn at random, or where no set from elsewhere was scored.
    """
    metrics = tuple(metric for metric in task.metrics if metric.scale == "log")
    trained = {name: seeds for name, seeds in arms.items() if seeds}
    if untouched is None or untouched.sameness.head_sha256 is not None or len(metrics) < 2 or not trained:
        return None
    # It is one and the same for every seed: nothing of it is drawn.
    before = {seed: untouched for seeds in trained.values() for seed in seeds}
    changes = differences({UNTOUCHED: before, **trained}, UNTOUCHED, metrics, task, draws)
    of_seeds = {
        name: {
            seed: tuple(found.scores[m.name] - untouched.scores[m.name] for m in metrics) for seed, found in own.items()
        }
        for name, own in trained.items()
    }
    return Forgetting(metrics, changes, of_seeds, _dominated(changes, metrics, list(trained)))


def _dominated(
    changes: Mapping[str, Mapping[str, Estimate]], metrics: Sequence[Metric], arms: Sequence[str]
) -> dict[str, str]:
    means = {
        arm: [changes[metric.name][arm].value for metric in metrics if arm in changes[metric.name]] for arm in arms
    }
    whole = {arm: values for arm, values in means.items() if len(values) == len(metrics)}

    def dominates(one: str, other: str) -> bool:
        pairs = list(zip(whole[one], whole[other], strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    # Of those that dominate an arm, the one that learnt most is named.
    found = {arm: [one for one in whole if dominates(one, arm)] for arm in whole}
    return {arm: min(ones, key=lambda one: whole[one][0]) for arm, ones in found.items() if ones}
