"""From results to a Comparison: every arm beside the baseline, judged. Numbers and decisions; the report words them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loralab.differences import differences, right_of_both
from loralab.experiment import UNTOUCHED, Experiment, Trial
from loralab.fairness import Fairness, examine
from loralab.forgetting import Forgetting, forgetting
from loralab.frame import table
from loralab.plan import Choice, Results, choose, extra_trials, final_trials, tuning_trials
from loralab.recommendation import Recommendation, recommend
from loralab.results import ByArm, Failure, Measurement
from loralab.statistics.decisions import Verdict, judge, mcnemar
from loralab.statistics.estimate import Estimate
from loralab.statistics.needed import are_settled
from loralab.statistics.resampling import DRAWS
from loralab.summary import ArmSummary, Spread, costs, ratios

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTIVE_DRAWS = 1_000  # for metrics about which nothing is decided: the error of their intervals is 2 %


@dataclass(frozen=True)
class Comparison:
    """All arms beside the baseline."""

    experiment: Experiment
    arms: Mapping[str, ArmSummary]  # the baseline among them, in the order of the experiment
    untouched: ArmSummary
    tuning: tuple[Measurement | Failure, ...]
    seeds: tuple[int, ...]  # those looked at: all, unless the experiment stops where results decide
    missing: tuple[Trial, ...]  # trials that were not carried out yet: tuning, and final ones of these seeds
    fairness: Fairness
    recommendation: Recommendation
    forgetting: Forgetting | None  # None where the model before training says nothing, or nothing else was scored

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
    def rates_are_tried(self) -> bool:
        """Tell whether every learning rate was tried that was to be, so that those of the arms are the chosen ones."""
        return all(trial.stage == "final" for trial in self.missing)

    @property
    def is_settled(self) -> bool:
        """Tell whether more seeds would add nothing: every arm is decided, or too few items keep it from being so."""
        return are_settled(self.verdicts.values())

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

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each trial as a pandas DataFrame; its columns are those of `results.csv`."""
        frame: pd.DataFrame = table(self.results.values()).to_pandas()
        return frame

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        # Only a notebook asks for it, and only then is what draws it loaded: the one import that points up.
        from loralab.report.notebook import html

        return html(self)

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
    tuning = [*tuning_trials(experiment), *extra_trials(experiment, results)]
    wanted = final_trials(experiment, choices, seeds)
    found = {trial.id: results[trial.id] for trial in wanted if trial.id in results}
    of_arm = {
        name: [found[trial.id] for trial in wanted if trial.arm == name and trial.id in found]
        for name in (*experiment.arms, UNTOUCHED)
    }
    measured = {name: _by_seed(of_arm[name], arm.seed_offset) for name, arm in experiment.arms.items()}
    apart = _differences(experiment, measured)
    arms = {
        name: _summarise(name, choices[name], of_arm[name], measured, experiment, apart) for name in experiment.arms
    }
    verdicts = _judge(experiment, arms)
    arms = {name: replace(arm, verdict=verdicts.get(name)) for name, arm in arms.items()}
    tried = Counter(trial.arm for trial in tuning if _tells(results.get(trial.id)))
    untouched = {UNTOUCHED: _by_seed(of_arm[UNTOUCHED])}
    fairness = examine(measured, {name: tried[name] or 1 for name in arms})
    missing = tuple(trial for trial in (*tuning, *wanted) if trial.id not in results)
    return Comparison(
        experiment=experiment,
        arms=arms,
        untouched=_summarise(UNTOUCHED, None, of_arm[UNTOUCHED], untouched, experiment, {}),
        tuning=tuple(result for result in results.values() if result.trial.stage == "tuning"),
        seeds=seeds,
        missing=missing,
        fairness=fairness,
        recommendation=recommend(
            arms, experiment.baseline, experiment.prefer, is_fair=fairness.is_fair, is_finished=not missing
        ),
        forgetting=forgetting(
            {name: {} if arms[name].is_void else found for name, found in measured.items()},
            next(iter(untouched[UNTOUCHED].values()), None),
            experiment.conditions.task,
            DESCRIPTIVE_DRAWS,
        ),
    )


def _tells(result: Measurement | Failure | None) -> bool:
    """Tell whether a learning rate was tried, or still will be: a crash says nothing of it."""
    return not isinstance(result, Failure) or result.is_answer


def _by_seed(results: Sequence[Measurement | Failure], seed_offset: int = 0) -> dict[int, Measurement]:
    """Return the measurements by their seed in the design."""
    return {result.trial.seed - seed_offset: result for result in results if isinstance(result, Measurement)}


def _differences(experiment: Experiment, measured: ByArm) -> dict[str, dict[str, Estimate]]:
    """Return every arm's difference from the baseline, by metric and arm."""
    task, primary = experiment.conditions.task, experiment.primary_metric
    others = [metric for metric in task.metrics if metric != primary]
    return {
        **differences(measured, experiment.baseline, [primary], task, DRAWS),
        **differences(measured, experiment.baseline, others, task, DESCRIPTIVE_DRAWS),
    }


def _judge(experiment: Experiment, arms: Mapping[str, ArmSummary]) -> dict[str, Verdict]:
    """Judge every arm but the baseline by its gain: its difference, turned where lower is better.

    Of a void arm nothing may be said, and where the baseline is void of none.
    """
    metric = experiment.primary_metric
    is_void = arms[experiment.baseline].is_void

    def gain(arm: ArmSummary) -> Estimate | None:
        found = arm.differences.get(metric.name)
        if found is None or is_void or arm.is_void:
            return None
        return found if metric.higher_is_better else found.mirrored()

    gains = {name: gain(arm) for name, arm in arms.items() if name != experiment.baseline}
    return judge(gains, experiment.primary_margin, experiment.level, are_shares=metric.scale == "share")


def _summarise(
    name: str,
    choice: Choice | None,
    results: Sequence[Measurement | Failure],
    measured: ByArm,
    experiment: Experiment,
    apart: Mapping[str, Mapping[str, Estimate]],
) -> ArmSummary:
    own, baseline = measured[name], measured.get(experiment.baseline, {})
    metrics = next(iter(own.values())).scores if own else {}
    return ArmSummary(
        name=name,
        choice=choice,
        measurements=own,
        failures=tuple(result for result in results if isinstance(result, Failure)),
        scores={metric: Spread({seed: found.scores[metric] for seed, found in own.items()}) for metric in metrics},
        differences={metric: found[name] for metric, found in apart.items() if name in found},
        verdict=None,
        mcnemar={
            seed: mcnemar(*right)
            for seed in (own if name != experiment.baseline else ())
            if seed in baseline and (right := right_of_both(own[seed], baseline[seed], experiment.conditions.task))
        },
        costs=costs(own),
        ratios=ratios(own, baseline),
    )
