"""From results to a Comparison: every arm beside the baseline, paired by seed. Numbers only; the report words them.

What stands here describes: means, spread over seeds, paired differences and ratios. It claims nothing beyond them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from loralab.experiment import UNTOUCHED, Experiment
from loralab.plan import Choice, Results, choose, final_trials
from loralab.results import Failure, Measurement


@dataclass(frozen=True)
class Quantity:
    """A cost that can be compared: its unit, and where it is read. Less of it is better."""

    name: str
    title: str
    unit: str  # 's', 'bytes' or 'count'
    read: Callable[[Measurement], float | None]


COSTS = (
    Quantity("training_seconds", "Training time", "s", lambda m: m.seconds.training),
    Quantity("training_memory", "Peak memory, training", "bytes", lambda m: m.memory.training),
    Quantity("evaluation_memory", "Peak memory, evaluation", "bytes", lambda m: m.memory.evaluation),
    Quantity("trainable_parameters", "Trainable parameters", "count", lambda m: m.parameters.trainable),
    Quantity("saved_bytes", "Size on disk", "bytes", lambda m: m.saved.bytes if m.saved else None),
)


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
    """One arm in every quantity."""

    name: str
    choice: Choice | None  # of its learning rate; None for the untouched model
    measurements: Mapping[int, Measurement]  # by seed
    failures: tuple[Failure, ...]
    scores: Mapping[str, Spread]  # by metric, on test
    differences: Mapping[str, Spread]  # by metric: this arm less the baseline, seed by seed
    costs: Mapping[str, Spread]  # by quantity; one that is unknown is left out
    ratios: Mapping[str, float]  # by quantity: geometric mean over seeds of this arm by the baseline


@dataclass(frozen=True)
class Comparison:
    """All arms beside the baseline."""

    experiment: Experiment
    arms: Mapping[str, ArmSummary]  # the baseline among them, in the order of the experiment
    untouched: ArmSummary
    tuning: tuple[Measurement | Failure, ...]
    missing: int  # final trials not carried out yet

    @property
    def baseline(self) -> ArmSummary:
        """The arm that the others are held against."""
        return self.arms[self.experiment.baseline]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Every trial that gave no measurement, tuning and final."""
        final = [failure for arm in (*self.arms.values(), self.untouched) for failure in arm.failures]
        return (*(result for result in self.tuning if isinstance(result, Failure)), *final)

    @property
    def results(self) -> Results:
        """Every result by trial id: what `compare` takes, for example with another baseline."""
        final = [found for arm in (*self.arms.values(), self.untouched) for found in arm.measurements.values()]
        return {result.trial.id: result for result in (*self.tuning, *final, *self.failures)}

    @property
    def measurements(self) -> list[Measurement]:
        """Every final trial's measurement, the untouched model's left out."""
        return [measurement for arm in self.arms.values() for measurement in arm.measurements.values()]


def compare(experiment: Experiment, results: Results) -> Comparison:
    """Hold every arm against the baseline. `results` holds tuning and final trials, by id."""
    choices = choose(experiment, results)
    wanted = final_trials(experiment, choices)
    found = {trial.id: results[trial.id] for trial in wanted if trial.id in results}
    of_arm = {
        name: [found[trial.id] for trial in wanted if trial.arm == name and trial.id in found]
        for name in (*experiment.arms, UNTOUCHED)
    }
    baseline = _by_seed(of_arm[experiment.baseline])
    return Comparison(
        experiment=experiment,
        arms={name: _summarise(name, choices[name], of_arm[name], baseline) for name in experiment.arms},
        untouched=_summarise(UNTOUCHED, None, of_arm[UNTOUCHED], baseline),
        tuning=tuple(result for result in results.values() if result.trial.stage == "tuning"),
        missing=len(wanted) - len(found),
    )


def _by_seed(results: list[Measurement | Failure]) -> dict[int, Measurement]:
    return {result.trial.seed: result for result in results if isinstance(result, Measurement)}


def _summarise(
    name: str, choice: Choice | None, results: list[Measurement | Failure], baseline: Mapping[int, Measurement]
) -> ArmSummary:
    own = _by_seed(results)
    shared = [seed for seed in own if seed in baseline]
    metrics = next(iter(own.values())).scores if own else {}
    costs = {}
    ratios = {}
    for cost in COSTS:
        known = {seed: value for seed, found in own.items() if (value := cost.read(found)) is not None}
        if known:
            costs[cost.name] = Spread(known)
        logs = [
            math.log(known[seed] / below) for seed in shared if (below := cost.read(baseline[seed])) and known.get(seed)
        ]
        if logs:
            ratios[cost.name] = math.exp(fmean(logs))
    return ArmSummary(
        name=name,
        choice=choice,
        measurements=own,
        failures=tuple(result for result in results if isinstance(result, Failure)),
        scores={metric: Spread({seed: found.scores[metric] for seed, found in own.items()}) for metric in metrics},
        differences={
            metric: Spread({seed: own[seed].scores[metric] - baseline[seed].scores[metric] for seed in shared})
            for metric in metrics
            if shared
        },
        costs=costs,
        ratios=ratios,
    )
