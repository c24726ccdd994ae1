"""What the report says, as text and tables; terminal, Markdown and HTML only lay it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from loralab.comparison import Comparison
from loralab.report import numbers
from loralab.results import Measurement, Seconds
from loralab.summary import COST_BY_NAME, COSTS, ArmSummary
from loralab.tasks.metrics import Metric

PHASES = tuple(Seconds.model_fields)
MOST_IN_MATRIX = 20  # labels: a confusion matrix of more is no longer legible
MISTAKES_LISTED = 15
CAUSES = ("weights", "gradients", "optimizer", "activations and the rest")  # of the peak memory of training


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def items(comparison: Comparison) -> str:
    """The word for what is scored: texts, or documents."""
    return f"{comparison.experiment.conditions.task.item}s"


def primary(comparison: Comparison) -> Metric:
    """The metric that the answer is about."""
    return comparison.experiment.primary_metric


def judged_set(comparison: Comparison) -> str:
    """The set that the answer is about: test, or one that is scored besides."""
    return primary(comparison).name.rpartition("/")[0] or "test"


def judged_items(comparison: Comparison) -> str:
    """The words for what the answer is about: 'test texts'."""
    return f"{judged_set(comparison)} {items(comparison)}"


def titled_on_test(metric: Metric) -> str:
    """A metric of final scores, and on what: its title names a set that is scored besides."""
    return metric.title if "/" in metric.name else f"{metric.title} on test"


def why_missing(arm: ArmSummary, comparison: Comparison) -> str | None:
    """Say why an arm has no measurement, or None where it has one or was not carried out yet."""
    found = arm.failures
    if is_chosen(None, arm, comparison):  # not one rate led to a model
        found = tuple(failure for failure in comparison.failures if failure.trial.arm == arm.name)
    return found[-1].reason if found and not arm.measurements else None


def why_not_judged(arm: ArmSummary, comparison: Comparison) -> str:
    """Say of an arm without a verdict why it has none."""
    if arm.is_void:
        return "is void: a check failed"
    if comparison.baseline.is_void:
        return f"can't be judged, since {comparison.baseline.name} is void"
    if not arm.measurements:
        why = why_missing(arm, comparison)
        return "has no measurement" + (f" ({why})" if why else "")
    return f"shares no seed, or not its {judged_items(comparison)}, with {comparison.baseline.name}"


def before(comparison: Comparison) -> str:
    """Say what the untouched model is, beyond its not being trained."""
    heads = [one.sameness for one in comparison.untouched.measurements.values() if one.sameness.head_sha256]
    if not heads:
        return "the same for every seed"
    if heads[0].is_head_drawn:
        return "its head drawn at random (one seed)"
    return "with the head that the checkpoint brings, whose outputs are taken for the data's labels in their order"


def answers(comparison: Comparison) -> Table:
    """The table that answers: each arm's score, its difference from the baseline, and what is shown of it."""
    metric = primary(comparison)
    margin = numbers.bare_margin(comparison.experiment.primary_margin, metric)
    header = ["Arm", metric.title, f"vs {comparison.baseline.name} (95 %)", "Direction", f"Margin {margin}"]
    rows = []
    for arm in _all_arms(comparison):
        score = why_missing(arm, comparison) or numbers.score_spread(arm.scores.get(metric.name), metric)
        shown = ["", "", ""]
        if arm.verdict is not None:
            shown = [_difference(arm, metric), arm.verdict.direction.value, arm.verdict.margin_answer.value]
        if arm.is_void:
            shown = ["void", "void", "void"]
        rows.append([arm.name, score + of_seeds(arm), *shown])
    return Table(header, rows)


def of_seeds(arm: ArmSummary) -> str:
    """Say of how many seeds an arm's figures are, where others failed; else nothing."""
    measured = len(arm.measurements)
    return f" ({measured} of {measured + len(arm.failures)} seeds)" if arm.failures and measured else ""


def bill(comparison: Comparison) -> Table:
    """What each arm cost: the baseline's figures, and the others' as multiples of them."""
    names = ("training_seconds", "training_memory", "trainable_parameters", "saved_bytes")
    rows = [[arm.name, *(_cost(arm, comparison, name) for name in names)] for arm in comparison.arms.values()]
    return Table(["Arm", "Time", "Memory", "Trained", "Disk"], rows)


def quality(comparison: Comparison) -> Table:
    """Every metric: mean and standard deviation over seeds."""
    metrics = comparison.experiment.conditions.task.metrics
    rows = [
        [arm.name, *(numbers.score_spread(arm.scores.get(metric.name), metric) for metric in metrics)]
        for arm in _all_arms(comparison)
    ]
    return Table(["Arm", *(metric.title for metric in metrics)], rows)


def other_differences(comparison: Comparison) -> Table:
    """Every metric's difference from the baseline with its interval: descriptive, nothing is decided by it."""
    metrics = comparison.experiment.conditions.task.metrics
    rows = [
        [arm.name, *(_difference(arm, metric) for metric in metrics)]
        for arm in comparison.others
        if arm.differences and not arm.is_void
    ]
    return Table([f"vs {comparison.baseline.name}", *(metric.title for metric in metrics)], rows)


def evidence(comparison: Comparison) -> Table:
    """The p of every claim, adjusted over the arms."""
    rows = [
        [
            name,
            numbers.probability(verdict.evidence.direction),
            numbers.probability(verdict.evidence.non_inferior),
            numbers.probability(verdict.evidence.equivalent),
            numbers.probability(verdict.evidence.inferior),
        ]
        for name, verdict in comparison.verdicts.items()
    ]
    return Table(["p, adjusted (Holm)", "Differs", "Non-inferior", "Equivalent", "Inferior"], rows)


def by_seed(comparison: Comparison) -> Table:
    """Each seed's difference, and McNemar's test of its two models."""
    metric, baseline = primary(comparison), comparison.baseline
    tested = any(arm.mcnemar for arm in comparison.others)
    header = ["Arm", "Seed", f"vs {baseline.name}", *(["McNemar's exact p of right answers"] if tested else [])]
    rows = []
    for arm in [arm for arm in comparison.others if not arm.is_void]:
        for seed in [seed for seed in arm.measurements if seed in baseline.measurements]:
            own, base = (one.scores[metric.name].values[seed] for one in (arm, baseline))
            row = [arm.name, str(seed), numbers.difference(own - base, metric)]
            rows.append([*row, numbers.probability(arm.mcnemar[seed])] if seed in arm.mcnemar else row)
    return Table(header, rows)


def checks(comparison: Comparison) -> Table:
    """What was checked of every final trial: how many of an arm's trials passed."""
    arms = [arm for arm in comparison.arms.values() if arm.measurements]
    passed: dict[str, dict[str, list[bool]]] = {}
    for arm in arms:
        for found in arm.measurements.values():
            for check in found.checks:
                passed.setdefault(check.name, {}).setdefault(arm.name, []).append(check.passed)
    rows = [[name, *(_passed(of_arm.get(arm.name, [])) for arm in arms)] for name, of_arm in passed.items()]
    return Table(["Check", *(arm.name for arm in arms)], rows)


def _passed(of_trials: Sequence[bool]) -> str:
    return f"{sum(of_trials)} of {len(of_trials)}" if of_trials else numbers.UNKNOWN


def fairness(comparison: Comparison) -> list[str]:
    """What the arms were found to share, and what not."""
    found = comparison.fairness
    other = {deviation.name for deviation in (*found.deviations, *found.exempt)}
    lines = [f"The results show the same {', '.join(name for name in found.checked if name not in other)}."]
    lines += [f"They differ in {deviation.name} ({deviation.seen})." for deviation in found.deviations]
    return [*lines, *(f"Not compared: {deviation.name} ({deviation.seen})." for deviation in found.exempt)]


def forgetting(comparison: Comparison) -> Table:
    """What training changed, in the domain and elsewhere: perplexity before, and each arm's change."""
    found = comparison.forgetting
    assert found is not None
    before = comparison.untouched.scores
    rows = [["before training", *(numbers.score(before[m.name].mean, m) for m in found.metrics), ""]]
    for arm in found.of_seeds:
        changes = [found.changes[metric.name].get(arm) for metric in found.metrics]
        cells = [
            numbers.UNKNOWN if one is None else numbers.differences(one.value, one.interval(), metric)
            for one, metric in zip(changes, found.metrics, strict=True)
        ]
        rows.append([arm, *cells, found.dominated.get(arm, "")])
    return Table(["Arm", *(metric.title for metric in found.metrics), "Dominated by"], rows)


def costs(comparison: Comparison) -> Table:
    """Every cost: the mean over seeds."""
    rows = []
    for arm in comparison.arms.values():
        cells = []
        for quantity in COSTS:
            spread = arm.costs.get(quantity.name)
            cells.append(numbers.cost(spread.mean, quantity) if spread else numbers.UNKNOWN)
        rows.append([arm.name, *cells])
    return Table(["Arm", *(quantity.title for quantity in COSTS)], rows)


def cost_ratios(comparison: Comparison) -> Table:
    """Every cost as a multiple of the baseline's, with its interval over seeds."""
    rows = [[arm.name, *(numbers.ratio(arm.ratios.get(cost.name)) for cost in COSTS)] for arm in comparison.others]
    return Table([f"by {comparison.baseline.name}", *(cost.title for cost in COSTS)], rows)


def speeds(comparison: Comparison) -> Table:
    """Seconds by what they were spent on, and throughput: means over seeds."""
    example = comparison.experiment.conditions.task.example
    rows = []
    for arm in comparison.arms.values():
        found = list(arm.measurements.values())
        if not found:
            continue
        spent = [sum(getattr(m.seconds, phase) for m in found) / len(found) for phase in PHASES]
        speeds = [m.throughput for m in found if m.throughput]
        through = [sum(getattr(s, unit) for s in speeds) / len(speeds) for unit in ("texts", "steps", "tokens")]
        rows.append([arm.name, *map(numbers.duration, spent), *(f"{value:,.1f}" for value in through)])
    return Table(
        ["Arm", *(phase.capitalize() for phase in PHASES), f"{example.capitalize()}s/s", "Steps/s", "Tokens/s"], rows
    )


def causes_of_memory(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Each arm's peak memory of training in bytes by what it holds, means over seeds; arms of which it is unknown are
    left out."""
    found = {}
    for arm in comparison.arms.values():
        known = [causes for one in arm.measurements.values() if (causes := _causes(one)) is not None]
        if known:
            found[arm.name] = {cause: fmean(one[cause] for one in known) for cause in CAUSES}
    return found


def _causes(measurement: Measurement) -> dict[str, int] | None:
    memory = measurement.memory
    if memory.training is None or memory.held is None:
        return None
    held = memory.held.model_dump()
    return held | {CAUSES[-1]: max(0, memory.training - sum(held.values()))}


def learning_rates(comparison: Comparison) -> Table:
    """Every rate tried, with its score on validation."""
    metric = tuning_metric(comparison)
    reasons = {
        (failure.trial.arm, failure.trial.learning_rate): failure.reason
        for failure in comparison.failures
        if failure.trial.stage == "tuning"
    }
    rows = []
    for arm in comparison.arms.values():
        for rate, found in arm.choice.tried.items() if arm.choice else ():
            score = reasons[arm.name, rate] if found is None else numbers.score(found, metric)
            rows.append([arm.name, numbers.rate(rate), score, "chosen" if is_chosen(rate, arm, comparison) else ""])
    return Table(["Arm", "Learning rate", f"Validation {metric.phrase}", ""], rows)


def is_chosen(rate: float | None, arm: ArmSummary, comparison: Comparison) -> bool:
    """Tell whether the arm chose this rate, which it does once all were tried; None: not one led to a model."""
    return comparison.rates_are_tried and arm.choice is not None and arm.choice.rate == rate


def tuning_metric(comparison: Comparison) -> Metric:
    """The metric by which learning rates were chosen."""
    task = comparison.experiment.conditions.task
    return next(metric for metric in task.metrics if metric.name == task.tuning_metric)


def failures(comparison: Comparison) -> Table:
    """Every trial without a measurement."""
    rows = [[failure.trial.id, failure.reason, failure.message] for failure in comparison.failures]
    return Table(["Trial", "Reason", "Message"], rows)


def confusions(comparison: Comparison) -> dict[str, list[list[int]]]:
    """Each arm's confusion matrix, summed over seeds: rows are true labels, columns predicted ones."""
    summed: dict[str, list[list[int]]] = {}
    for arm in comparison.arms.values():
        matrices = [found.confusion for found in arm.measurements.values() if found.confusion]
        if matrices:
            summed[arm.name] = [
                [sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)
            ]
    return summed


def mistakes(comparison: Comparison) -> Table:
    """What is most often taken for what, where there are too many labels for a matrix; else no rows."""
    matrices = confusions(comparison)
    names = comparison.measurements[0].data.label_names if matrices else ()
    header = ["True label → taken for", *matrices]
    if len(names) <= MOST_IN_MATRIX:
        return Table(header, [])
    seeds = [sum(one.confusion is not None for one in comparison.arms[arm].measurements.values()) for arm in matrices]
    means = {
        (i, j): [matrix[i][j] / count for matrix, count in zip(matrices.values(), seeds, strict=True)]
        for i in range(len(names))
        for j in range(len(names))
        if i != j
    }
    worst = sorted((pair for pair in means if any(means[pair])), key=lambda pair: -sum(means[pair]))
    rows = [[f"{names[i]} → {names[j]}", *(f"{mean:.1f}" for mean in means[i, j])] for i, j in worst[:MISTAKES_LISTED]]
    return Table(header, rows)


def about_loading(comparison: Comparison) -> str:
    """Say what will be read on the terminal when an adapter with a new head is loaded; nothing where none is new."""
    if all(found.sameness.head_sha256 is None for found in comparison.measurements):
        return ""
    return (
        " (for an adapter, transformers first says that the base model has no head; PEFT then puts the trained one in "
        "place)"
    )


def loading(comparison: Comparison) -> Mapping[str, str]:
    """For each arm, the lines that load the model of its first seed, run in the results folder."""
    lines = {}
    for arm in comparison.arms.values():
        saved = [found.saved.loading for found in arm.measurements.values() if found.saved]
        if saved:
            lines[arm.name] = saved[0]
    return lines


def _all_arms(comparison: Comparison) -> list[ArmSummary]:
    untouched = [comparison.untouched] if comparison.untouched.measurements else []
    return [*untouched, *comparison.arms.values()]


def _difference(arm: ArmSummary, metric: Metric) -> str:
    found = arm.differences.get(metric.name)
    return numbers.UNKNOWN if found is None else numbers.differences(found.value, found.interval(), metric)


def _cost(arm: ArmSummary, comparison: Comparison, name: str) -> str:
    if arm is comparison.baseline:
        return numbers.cost(arm.costs[name].mean, COST_BY_NAME[name]) if name in arm.costs else numbers.UNKNOWN
    return numbers.multiple(arm.ratios[name].value if name in arm.ratios else None)
