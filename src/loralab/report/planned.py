"""What is told before anything is spent: the trials, what each arm trains and takes, and what the design can decide."""

from __future__ import annotations

from collections.abc import Mapping

from loralab.experiment import Experiment
from loralab.forecast import ArmForecast, Forecast
from loralab.plan import certain_trials, count_trials
from loralab.report import numbers
from loralab.report.content import Table
from loralab.results import Failure, Parameters
from loralab.statistics import power

LONG = 200_000  # texts trained on in all trials together; on two cores, hours


def trials(experiment: Experiment) -> Table:
    """Every trial; what depends on results to come stands in words."""
    tuned = [name for name, arm in experiment.arms.items() if arm.is_tuned]
    rows, finals = [], []
    for trial in certain_trials(experiment):
        rate, seed = numbers.rate(trial.learning_rate), str(trial.seed)
        if trial.stage == "tuning":
            rows.append(["tuning", trial.arm, rate, seed, "validation"])
        else:
            finals.append(["final", trial.arm, "as chosen" if trial.arm in tuned else rate, seed, "test"])
    if tuned:
        rows.append(["tuning", "each tuned arm", "one more, if a choice lies at an edge", "", "validation"])
    return Table(["Stage", "Arm", "Learning rate", "Seed", "Scored on"], [*rows, *finals])


def how_many(experiment: Experiment) -> str:
    """Say how many trials there are."""
    least, most = map(sum, count_trials(experiment))
    return f"{least} trials" if least == most else f"{least} to {most} trials"


def parameters(found: Mapping[str, Parameters]) -> Table:
    """What each arm trains."""
    return Table(["Arm", "Trained", "of all"], [[name, *_trained(counted)] for name, counted in found.items()])


def forecast(found: Forecast) -> Table:
    """What each arm is expected to take."""
    header = ["Arm", "Trained", "of all", "Training", "Tuning trial", "Final trial", "Memory", "Fits"]
    batch_size = found.experiment.conditions.batch_size
    return Table(header, [[name, *_expected(arm, batch_size)] for name, arm in found.arms.items()])


def in_all(found: Forecast) -> str:
    """Say what all trials are expected to take, and whether an arm won't fit."""
    least, most = found.seconds()
    left_out = [name for name, arm in found.arms.items() if isinstance(arm.rehearsal, Failure)]
    text = f"In all about {numbers.duration(least)}"
    text += f" to {numbers.duration(most)}" if most > least else ""
    text += f", without {', '.join(left_out)}" if left_out else ""
    free = [arm.rehearsal.free_memory for arm in found.arms.values() if not isinstance(arm.rehearsal, Failure)]
    return text + (f". Free memory: {numbers.size(min(free))}." if free else ".")


def failed(found: Forecast) -> list[str]:
    """Say what went wrong in rehearsals."""
    rehearsals = {name: arm.rehearsal for name, arm in found.arms.items()}
    return [
        f"{name} failed, {one.reason}: {one.message}" for name, one in rehearsals.items() if isinstance(one, Failure)
    ]


def decidable(experiment: Experiment, test_rows: int, disagreement: float = power.DISAGREEMENT) -> list[str]:
    """Say what the smallest margin is that the design can decide, and what it would take to decide its own.

    Empty where the primary metric is not a share of the test texts.
    """
    seeds, level = len(experiment.seeds), experiment.level_of_an_arm
    if experiment.primary_metric.name != "accuracy" or len(experiment.arms) == 1:
        return []
    margin = experiment.primary_margin
    smallest = _smallest(experiment, test_rows, disagreement)
    lines = [
        f"{test_rows:,} test texts and {numbers.several(seeds, 'seed')} can decide margins of {100 * smallest:.1f} "
        f"points at best (if arms disagree on {100 * disagreement:.0f} % of the texts and no seed shifts an arm as a "
        f"whole); this experiment's is {100 * margin:g}."
    ]
    if seeds == 1:
        lines.append("One seed doesn't tell how much another would change: nothing is recommended after it.")
    if smallest > margin:
        rows = power.rows_needed(margin, seeds, level, disagreement)
        more = power.seeds_needed(margin, test_rows, level, disagreement)
        with_seeds = (
            f", or {numbers.several(more, 'seed')} with these" if more else "; with these, no number of seeds would"
        )
        lines.append(f"To decide it would take {rows:,} test texts{with_seeds}.")
    return lines


def too_small(experiment: Experiment, test_rows: int) -> list[str]:
    """Warn of a design that can't decide its own margin; empty where it can."""
    lines = decidable(experiment, test_rows)
    if not lines or _smallest(experiment, test_rows) <= experiment.primary_margin:
        return []
    return [f"This design is too small for its question. {' '.join(lines)}"]


def _smallest(experiment: Experiment, test_rows: int, disagreement: float = power.DISAGREEMENT) -> float:
    return power.smallest_margin(test_rows, len(experiment.seeds), experiment.level_of_an_arm, disagreement)


def is_long(experiment: Experiment, training_texts: int) -> bool:
    """Tell whether so much is trained that a forecast is worth its time."""
    conditions = experiment.conditions
    if conditions.epochs is not None:
        texts = conditions.epochs * training_texts
    else:
        texts = (conditions.steps or 0) * conditions.batch_size * conditions.accumulation
    return texts * sum(count_trials(experiment)[0]) > LONG


def _trained(counted: Parameters) -> list[str]:
    return [f"{counted.trainable:,}", f"{100 * counted.trainable / counted.total:.3g} %"]


def _expected(arm: ArmForecast, batch_size: int) -> list[str]:
    found = arm.rehearsal
    if isinstance(found, Failure):
        return [*[numbers.UNKNOWN] * 6, found.reason]
    stages = [numbers.duration(arm.trial_seconds(stage) or 0.0) for stage in ("tuning", "final")]
    memory = numbers.UNKNOWN if found.training_memory is None else numbers.size(found.training_memory)
    fits = {True: "yes", False: "no", None: numbers.UNKNOWN}[arm.fits]
    if found.micro_batch < batch_size:
        fits = f"{found.micro_batch} at a time"
    return [*_trained(found.parameters), numbers.duration(found.training_seconds), *stages, memory, fits]
