"""From results to a Comparison: every arm beside the baseline, judged. Numbers and decisions; the report words them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loralab.differences import differences, right_by_seed
from loralab.experiment import UNTOUCHED, Experiment, Trial
from loralab.fairness import ByArm, Fairness, examine
from loralab.plan import Choice, Results, choose, final_trials
from loralab.recommendation import Recommendation, recommend
from loralab.results import Failure, Measurement
from loralab.statistics.decisions import MarginAnswer, Verdict, judge, mcnemar
from loralab.statistics.estimate import Estimate
from loralab.statistics.needed import is_beyond_seeds
from loralab.statistics.resampling import DRAWS
from loralab.summary import ArmSummary, Spread, costs, ratios

DESCRIPTIVE_DRAWS = 1_000  # for metrics about which nothing is decided: the error of their intervals is 2 %


@dataclass(frozen=True)
class Comparison:
    """All arms beside the baseline."""

    experiment: Experiment
    arms: Mapping[str, ArmSummary]  # the baseline among them, in the order of the experiment
    untouched: ArmSummary
    tuning: tuple[Measurement | Failure, ...]
    seeds: tuple[int, ...]  # those looked at: all, unless the experiment stops where results decide
    missing: tuple[Trial, ...]  # final trials of these seeds that were not carried out yet
    fairness: Fairness
    recommendation: Recommendation

    @property
    def baseline(self) -> ArmSummary:
        """The arm that the others are held against."""
        return self.arms[self.experiment.baseline]

    @property
    def others(self) -> list[ArmSummary]:
        """The arms that are held against it."""
        return [arm for arm in self.arms.values() if arm is not self.baseline]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What may be said of each arm, in the primary metric."""
        return {arm.name: arm.verdict for arm in self.others if arm.verdict is not None}

    @property
    def is_settled(self) -> bool:
        """Tell whether more seeds would add nothing: every arm is decided, or too few items keep it from being so."""
        return all(
            verdict.margin_answer is not MarginAnswer.UNDECIDED
            or is_beyond_seeds(verdict.gain, verdict.margin, verdict.level)
            for verdict in self.verdicts.values()
        )

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
    """Hold every arm against the baseline. `results` holds tuning and final trials, by id.

    Where the experiment looks at its results after some of its seeds, the comparison is that of the first look at which
    trials are missing or more seeds would add nothing.
    """
    for seeds in experiment.seeds_by_look[:-1]:
        comparison = _compare(experiment, results, seeds)
        if comparison.missing or comparison.is_settled:
            return comparison
    return _compare(experiment, results, experiment.seeds)


def _compare(experiment: Experiment, results: Results, seeds: tuple[int, ...]) -> Comparison:
    choices = choose(experiment, results)
    wanted = final_trials(experiment, choices, seeds)
    found = {trial.id: results[trial.id] for trial in wanted if trial.id in results}
    of_arm = {
        name: [found[trial.id] for trial in wanted if trial.arm == name and trial.id in found]
        for name in (*experiment.arms, UNTOUCHED)
    }
    measured = {name: _by_seed(of_arm[name], arm.seed_offset) for name, arm in experiment.arms.items()}
    apart = _differences(experiment, measured)
    verdicts = _judge(experiment, apart[experiment.primary_metric.name])
    arms = {
        name: _summarise(name, choices[name], of_arm[name], measured, experiment, apart, verdicts.get(name))
        for name in experiment.arms
    }
    untouched = {UNTOUCHED: _by_seed(of_arm[UNTOUCHED])}
    fairness = examine(measured, {name: max(1, len(choice.tried)) for name, choice in choices.items()})
    return Comparison(
        experiment=experiment,
        arms=arms,
        untouched=_summarise(UNTOUCHED, None, of_arm[UNTOUCHED], untouched, experiment, {}, None),
        tuning=tuple(result for result in results.values() if result.trial.stage == "tuning"),
        seeds=seeds,
        missing=tuple(trial for trial in wanted if trial.id not in found),
        fairness=fairness,
        recommendation=recommend(arms, experiment.baseline, experiment.prefer, is_fair=fairness.is_fair),
    )


def _by_seed(results: Sequence[Measurement | Failure], seed_offset: int = 0) -> dict[int, Measurement]:
    """Return the measurements by their seed in the design."""
    return {result.trial.seed - seed_offset: result for result in results if isinstance(result, Measurement)}


def _differences(experiment: Experiment, measured: ByArm) -> dict[str, dict[str, Estimate]]:
    """Return every arm's difference from the baseline, by metric and arm."""
    task = experiment.conditions.task
    return {
        metric.name: differences(
            measured,
            experiment.baseline,
            metric,
            task,
            DRAWS if metric == experiment.primary_metric else DESCRIPTIVE_DRAWS,
        )
        for metric in task.metrics
    }


def _judge(experiment: Experiment, apart: Mapping[str, Estimate]) -> dict[str, Verdict]:
    """Judge every arm but the baseline by its gain: its difference, turned where lower is better."""
    is_gain = experiment.primary_metric.higher_is_better
    gains = {
        name: None if (found := apart.get(name)) is None else found if is_gain else found.mirrored()
        for name in experiment.arms
        if name != experiment.baseline
    }
    return judge(gains, experiment.primary_margin, experiment.level)


def _summarise(
    name: str,
    choice: Choice | None,
    results: Sequence[Measurement | Failure],
    measured: ByArm,
    experiment: Experiment,
    apart: Mapping[str, Mapping[str, Estimate]],
    verdict: Verdict | None,
) -> ArmSummary:
    own, baseline = measured[name], measured.get(experiment.baseline, {})
    metrics = next(iter(own.values())).scores if own else {}
    right, of_baseline = (right_by_seed(one, experiment.conditions.task) for one in (own, baseline))
    return ArmSummary(
        name=name,
        choice=choice,
        measurements=own,
        failures=tuple(result for result in results if isinstance(result, Failure)),
        scores={metric: Spread({seed: found.scores[metric] for seed, found in own.items()}) for metric in metrics},
        differences={metric: found[name] for metric, found in apart.items() if name in found},
        verdict=verdict,
        mcnemar={
            seed: mcnemar(right[seed], of_baseline[seed])
            for seed in (right if verdict else ())
            if seed in of_baseline and len(right[seed]) == len(of_baseline[seed])
        },
        costs=costs(own),
        ratios=ratios(own, baseline),
    )
