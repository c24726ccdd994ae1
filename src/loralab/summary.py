"""One arm in every quantity: its scores, what it cost, and both beside the baseline's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from loralab.plan import Choice
from loralab.results import Check, Failure, Measurement
from loralab.statistics.decisions import Verdict
from loralab.statistics.estimate import Estimate
from loralab.statistics.ratios import Ratio, geometric


@dataclass(frozen=True)
class Quantity:
    """A cost that can be compared: its unit, and where it is read. Less of it is better."""

    name: str
    title: str
    phrase: str  # in a sentence
    unit: Literal["s", "bytes", "count"]
    read: Callable[[Measurement], float | None]


COSTS = (
    Quantity("training_seconds", "Training time", "training time", "s", lambda m: m.seconds.training),
    Quantity(
        "training_memory", "Peak memory, training", "peak memory of training", "bytes", lambda m: m.memory.training
    ),
    Quantity(
        "evaluation_memory",
        "Peak memory, evaluation",
        "peak memory of evaluation",
        "bytes",
        lambda m: m.memory.evaluation,
    ),
    Quantity(
        "trainable_parameters",
        "Trainable parameters",
        "trainable parameters",
        "count",
        lambda m: m.parameters.trainable,
    ),
    Quantity("saved_bytes", "Size on disk", "size on disk", "bytes", lambda m: m.saved.bytes if m.saved else None),
    Quantity(
        "serving_seconds",
        "Scoring an item",
        "time to score an item",
        "s",
        lambda m: m.seconds.evaluation / sum(m.data.rows[name] for name in m.trial.conditions.task.final_sets),
    ),
)
COST_BY_NAME = {cost.name: cost for cost in COSTS}


@dataclass(frozen=True)
class Spread:
    """A figure over seeds."""

    values: Mapping[int, float]  # seed -> value

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over seeds, or None for a single one."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class ArmSummary:
    """One arm in every quantity. Seeds are those of the design, which arms share."""

    name: str
    choice: Choice | None  # of its learning rate; None for the untouched model
    measurements: Mapping[int, Measurement]  # by seed
    failures: tuple[Failure, ...]
    scores: Mapping[str, Spread]  # by metric, on test
    differences: Mapping[str, Estimate]  # by metric: this arm less the baseline
    verdict: Verdict | None  # in the primary metric; None for the baseline, and where nothing may be said
    mcnemar: Mapping[int, float]  # seed -> p of the two models' right answers
    costs: Mapping[str, Spread]  # by quantity; one that is unknown is left out
    ratios: Mapping[str, Ratio]  # by quantity: this arm by the baseline

    @property
    def failed_checks(self) -> tuple[tuple[int, Check], ...]:
        """The checks that a trial of this arm didn't pass, with its seed."""
        return tuple(
            (seed, check) for seed, found in self.measurements.items() for check in found.checks if not check.passed
        )

    @property
    def is_void(self) -> bool:
        """Tell whether a check failed, so that nothing may be said of the arm."""
        return bool(self.failed_checks)

    @property
    def is_sound(self) -> bool:
        """Tell whether its figures speak for it: it is not void, and no seed failed that the others don't speak for."""
        return bool(self.measurements) and not self.is_void and not self.failures


def costs(measurements: Mapping[int, Measurement]) -> dict[str, Spread]:
    """Return every cost that is known, by name."""
    spreads = {}
    for cost in COSTS:
        known = {seed: value for seed, found in measurements.items() if (value := cost.read(found)) is not None}
        if known:
            spreads[cost.name] = Spread(known)
    return spreads


def ratios(own: Mapping[int, Measurement], baseline: Mapping[int, Measurement]) -> dict[str, Ratio]:
    """Return by how much every cost differs from the baseline's, paired by seed."""
    found = {}
    for cost in COSTS:
        paired = [
            above / below
            for seed in _shared(own, baseline)
            if (above := cost.read(own[seed])) and (below := cost.read(baseline[seed]))
        ]
        if paired:
            found[cost.name] = geometric(paired)
    return found


def _shared(own: Mapping[int, Measurement], baseline: Mapping[int, Measurement]) -> Sequence[int]:
    return [seed for seed in own if seed in baseline]
