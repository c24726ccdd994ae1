"""What the report says, as text and tables; terminal, Markdown and HTML only lay it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loralab.comparison import COSTS, ArmSummary, Comparison
from loralab.experiment import Conditions
from loralab.report import numbers
from loralab.results import Seconds
from loralab.tasks.metrics import Metric

SCHEDULES = {"linear": "linear decay", "cosine": "decay along a cosine", "constant": "a constant rate"}


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def primary(comparison: Comparison) -> Metric:
    """The metric that the answer is about."""
    return comparison.experiment.conditions.task.metrics[0]


def why_missing(arm: ArmSummary, comparison: Comparison) -> str | None:
    """Say why an arm has no measurement, or None where it has one or was not carried out yet."""
    reasons = [failure.reason for failure in comparison.failures if failure.trial.arm == arm.name]
    return reasons[-1] if reasons and not arm.measurements else None


def overview(comparison: Comparison) -> Table:
    """The table that answers: quality, and costs as multiples of the baseline's."""
    metric = primary(comparison)
    header = [
        "Arm",
        metric.title,
        f"less {comparison.baseline.name}",
        "Time",
        "Memory",
        "Trained",
        "Disk",
    ]
    rows = []
    for arm in _all_arms(comparison):
        is_other = arm is not comparison.baseline and arm is not comparison.untouched
        rows.append(
            [
                arm.name,
                why_missing(arm, comparison) or numbers.score_spread(arm.scores.get(metric.name), metric),
                numbers.difference_spread(arm.differences.get(metric.name), metric) if is_other else "",
                _cost(arm, comparison, "training_seconds"),
                _cost(arm, comparison, "training_memory"),
                _cost(arm, comparison, "trainable_parameters"),
                _cost(arm, comparison, "saved_bytes"),
            ]
        )
    return Table(header, rows)


def quality(comparison: Comparison) -> Table:
    """Every metric: mean and standard deviation over seeds."""
    metrics = comparison.experiment.conditions.task.metrics
    rows = [
        [arm.name, *(numbers.score_spread(arm.scores.get(metric.name), metric) for metric in metrics)]
        for arm in _all_arms(comparison)
    ]
    return Table(["Arm", *(metric.title for metric in metrics)], rows)


def costs(comparison: Comparison) -> Table:
    """Every cost: the mean over seeds, and the multiple of the baseline's."""
    rows = []
    for arm in comparison.arms.values():
        cells = []
        for quantity in COSTS:
            spread = arm.costs.get(quantity.name)
            figure = numbers.cost(spread.mean, quantity) if spread else numbers.UNKNOWN
            is_other = arm is not comparison.baseline and spread
            cells.append(figure + (f" ({numbers.multiple(arm.ratios.get(quantity.name))})" if is_other else ""))
        rows.append([arm.name, *cells])
    return Table(["Arm", *(quantity.title for quantity in COSTS)], rows)


def speeds(comparison: Comparison) -> Table:
    """Seconds by what they were spent on, and throughput: means over seeds."""
    phases = tuple(Seconds.model_fields)
    rows = []
    for arm in comparison.arms.values():
        found = list(arm.measurements.values())
        if not found:
            continue
        spent = [sum(getattr(m.seconds, phase) for m in found) / len(found) for phase in phases]
        speeds = [m.throughput for m in found if m.throughput]
        through = [sum(getattr(s, unit) for s in speeds) / len(speeds) for unit in ("texts", "steps", "tokens")]
        rows.append([arm.name, *map(numbers.duration, spent), *(f"{value:,.1f}" for value in through)])
    return Table(["Arm", *(phase.capitalize() for phase in phases), "Texts/s", "Steps/s", "Tokens/s"], rows)


def learning_rates(comparison: Comparison) -> Table:
    """Every rate tried, with its score on validation."""
    metric = comparison.experiment.conditions.task.tuning_metric
    rows = []
    for arm in comparison.arms.values():
        if arm.choice is None:
            continue
        for rate, found in arm.choice.tried.items():
            mark = "chosen" if rate == arm.choice.rate else ""
            rows.append([arm.name, numbers.rate(rate), "failed" if found is None else f"{found:.4f}", mark])
    return Table(["Arm", "Learning rate", f"Validation {metric.replace('_', ' ')}", ""], rows)


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


def facts(comparison: Comparison) -> Mapping[str, str]:
    """The conditions, the data and the machine."""
    if not comparison.measurements:
        return {}
    first = comparison.measurements[0]
    conditions, data, machine = first.trial.conditions, first.data, first.environment
    length = f"{conditions.epochs} epochs of " if conditions.epochs else ""
    length += f"{first.course.planned_steps // (conditions.epochs or 1):,} steps"
    batch = conditions.batch_size * conditions.accumulation
    cut = ", ".join(f"{100 * share:.1f} % of {split}" for split, share in data.truncated.items())
    return {
        "Model": conditions.model,
        "Data": f"{conditions.task.data.source}: "
        + ", ".join(f"{count:,} {split}" for split, count in data.rows.items()),
        "Labels": ", ".join(data.label_names),
        "Texts shared": f"{data.shared:,} of train also stand in test; {data.dropped:,} were dropped for it",
        "Rows without text": ", ".join(f"{count:,} of {split}" for split, count in data.without_text.items()) or "none",
        "Texts cut": f"{cut}, at {conditions.task.max_length} tokens",
        "Training": f"{length}, {batch} texts a step, AdamW, warm-up over "
        f"{100 * conditions.warmup:g} % of the steps, then {SCHEDULES[conditions.schedule]}, weight decay "
        f"{conditions.weight_decay:g}, gradients clipped at {conditions.max_grad_norm:g}",
        "Besides": ", ".join(_besides(conditions)) or "nothing",
        "Precision": f"{machine.precision} in training; scores and saved models are float32",
        "Seeds": f"{', '.join(map(str, comparison.experiment.seeds))}; learning rates were chosen on validation with "
        f"seed {comparison.experiment.tuning_seed}",
        "Memory": first.memory.how + ", above what was resident before the model was loaded",
        "Machine": f"{machine.device_name}; {machine.device}, {machine.threads} threads; {machine.platform}",
        "Versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        + f", Python {machine.python}"
        + (f", loralab commit {machine.commit}" if machine.commit else ""),
    }


def _besides(conditions: Conditions) -> list[str]:
    """Name what is not usual in training."""
    task, told = conditions.task, []
    if task.label_smoothing:
        told.append(f"label smoothing {task.label_smoothing:g}")
    if task.class_weights == "balanced":
        told.append("labels weighted to count alike")
    elif task.class_weights is not None:
        told.append(
            "labels weighted: " + ", ".join(f"{name} {weight:g}" for name, weight in task.class_weights.items())
        )
    if conditions.early_stopping is not None:
        told.append(f"stopped early after {conditions.early_stopping} validations without a better score")
    if conditions.gradient_checkpointing:
        told.append("gradient checkpointing")
    return told


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


def _cost(arm: ArmSummary, comparison: Comparison, name: str) -> str:
    if arm is comparison.untouched:
        return ""
    if arm is comparison.baseline:
        quantity = next(cost for cost in COSTS if cost.name == name)
        return numbers.cost(arm.costs[name].mean, quantity) if name in arm.costs else numbers.UNKNOWN
    return numbers.multiple(arm.ratios.get(name))
