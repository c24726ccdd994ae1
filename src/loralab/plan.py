"""From an Experiment to its Trials: learning rates are chosen on a seed of their own, then every seed is run.

Equal tuning budgets for all arms follow Dodge et al. 2019 (arXiv:1909.03004).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loralab.experiment import UNTOUCHED, Experiment, Trial
from loralab.methods import Untouched
from loralab.results import Failure, Measurement

Results = Mapping[str, Measurement | Failure]  # by trial id


class Count(NamedTuple):
    """How many trials there are."""

    tuning: int
    final: int


@dataclass(frozen=True)
class Choice:
    """An arm's learning rate and what it was chosen from."""

    arm: str
    rate: float | None  # None where no rate led to a model
    # rate -> validation score, None where the trial failed; empty if the arm is not tuned, or nothing was tried yet
    tried: Mapping[float, float | None]

    @property
    def is_at_edge(self) -> bool:
        """Tell whether a better rate may lie beyond those tried."""
        return bool(self.tried) and self.rate in (None, min(self.tried), max(self.tried))


def tuning_trials(experiment: Experiment) -> list[Trial]:
    """Return the trials among which learning rates are chosen, arms interleaved."""
    tuned = {name: arm for name, arm in experiment.arms.items() if arm.is_tuned}
    tries = max((len(arm.learning_rates) for arm in tuned.values()), default=0)
    return [
        _trial(experiment, name, arm.learning_rates[attempt]) for attempt in range(tries) for name, arm in tuned.items()
    ]


def extra_trials(experiment: Experiment, results: Results) -> list[Trial]:
    """Return one more try for every tuned arm, if the choice of any lies at an edge of its list; otherwise none.

    An arm at an edge tries the next rate outward, another one that between its best and the better of the neighbours.
    Before every rate was tried there is nothing to add.
    """
    if any(trial.id not in results for trial in tuning_trials(experiment)):
        return []
    choices = [
        _choose(experiment, name, arm.learning_rates, results) for name, arm in experiment.arms.items() if arm.is_tuned
    ]
    if not any(choice.is_at_edge for choice in choices):
        return []
    return [_trial(experiment, choice.arm, _next_rate(choice)) for choice in choices]


def choose(experiment: Experiment, results: Results) -> dict[str, Choice]:
    """Return every arm's learning rate: the one of the lowest validation score, or the only one it has."""
    extra = {trial.arm: trial.learning_rate for trial in extra_trials(experiment, results)}
    choices = {}
    for name, arm in experiment.arms.items():
        if arm.is_tuned:
            added = extra.get(name)
            rates = (*arm.learning_rates, *([] if added is None else [added]))
            choices[name] = _choose(experiment, name, rates, results)
        else:
            choices[name] = Choice(name, arm.learning_rates[0], {})
    return choices


def final_trials(experiment: Experiment, choices: Mapping[str, Choice], seeds: Sequence[int]) -> list[Trial]:
    """Return the model before any training once, then every arm of each of `seeds`, arms interleaved within a seed."""
    untouched = Trial(
        stage="final",
        arm=UNTOUCHED,
        method=Untouched(),
        learning_rate=None,
        seed=experiment.seeds[0],
        conditions=experiment.conditions,
    )
    trials = [
        _trial(experiment, name, choice.rate, seed + experiment.arms[name].seed_offset)
        for seed in seeds
        for name, choice in choices.items()
        if choice.rate is not None
    ]
    return [untouched, *trials]


def certain_trials(experiment: Experiment) -> list[Trial]:
    """Return the trials that will be carried out whatever comes out; a rate stands in for the one to be chosen."""
    choices = {name: Choice(name, arm.learning_rates[0], {}) for name, arm in experiment.arms.items()}
    return [*tuning_trials(experiment), *final_trials(experiment, choices, experiment.seeds_by_look[0])]


def count_trials(experiment: Experiment) -> tuple[Count, Count]:
    """Return how many trials the experiment has at least, and at most: one more a tuned arm, and all of its seeds."""
    tuned = sum(arm.is_tuned for arm in experiment.arms.values())
    tuning = len(tuning_trials(experiment))
    least, most = (len(experiment.arms) * len(seeds) + 1 for seeds in (experiment.seeds_by_look[0], experiment.seeds))
    return Count(tuning, least), Count(tuning + tuned, most)


def _trial(experiment: Experiment, arm: str, rate: float, seed: int | None = None) -> Trial:
    return Trial(
        stage="tuning" if seed is None else "final",
        arm=arm,
        method=experiment.arms[arm].method,
        learning_rate=rate,
        seed=experiment.tuning_seed if seed is None else seed,
        conditions=experiment.conditions,
    )


def _choose(experiment: Experiment, arm: str, rates: tuple[float, ...], results: Results) -> Choice:
    metric = experiment.conditions.task.tuning_metric
    tried: dict[float, float | None] = {}
    for rate in sorted(rates):
        if result := results.get(_trial(experiment, arm, rate).id):
            tried[rate] = result.scores[metric] if isinstance(result, Measurement) else None
    scored = {rate: score for rate, score in tried.items() if score is not None}
    return Choice(arm, min(scored, key=scored.__getitem__) if scored else None, tried)


def _next_rate(choice: Choice) -> float:
    rates = sorted(choice.tried)
    if choice.rate in (None, rates[0]):  # where every rate failed, a lower one may not
        rate = rates[0] ** 2 / rates[1]
    elif choice.rate == rates[-1]:
        rate = rates[-1] ** 2 / rates[-2]
    else:
        place = rates.index(choice.rate)
        beside = {rate: choice.tried[rate] for rate in (rates[place - 1], rates[place + 1])}
        scored = {rate: score for rate, score in beside.items() if score is not None}
        rate = math.sqrt(choice.rate * min(scored, key=scored.__getitem__, default=rates[place - 1]))
    return float(f"{rate:.3g}")  # as it is shown, so that a rate typed from the report is this rate
