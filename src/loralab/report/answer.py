"""The answer in a sentence, and what limits it."""

from __future__ import annotations

from loralab.comparison import ArmSummary, Comparison
from loralab.report import numbers
from loralab.report.content import primary, why_missing


def sentence(comparison: Comparison) -> str:
    """State the differences from the baseline and what they cost, in a sentence."""
    baseline, metric = comparison.baseline, primary(comparison)
    if not baseline.measurements:
        reason = why_missing(baseline, comparison)
        why = f"its trials failed ({reason})" if reason else "it has no finished trial yet"
        return f"There is nothing to compare with: {why} ({baseline.name} is the baseline)."
    facts = next(iter(baseline.measurements.values())).data
    seeds = len(baseline.measurements)
    lead = (
        f"Over {seeds} {'seed' if seeds == 1 else 'seeds'} and {facts.rows['test']:,} test texts, "
        f"{baseline.name} reached {numbers.score_spread(baseline.scores[metric.name], metric)} {metric.title.lower()}"
    )
    others = [_beside(arm, comparison) for arm in comparison.arms.values() if arm is not baseline]
    return "; ".join([lead, *others]) + "."


def caveats(comparison: Comparison) -> list[str]:
    """Say what the answer does not claim, and what limits it."""
    metric = primary(comparison)
    lines = ["These are differences and their spread over seeds; whether they are more than chance is not claimed."]
    amount = numbers.difference(comparison.experiment.primary_margin, metric).lstrip("+")
    unit = " points" if metric.is_fraction else ""
    lines.append(f"In this experiment, a difference matters from {amount}{unit} on.")
    if len(comparison.experiment.seeds) == 1:
        lines.append("With one seed, nothing is known of how much another seed would change.")
    for arm in comparison.arms.values():
        lines += [*_of_its_rate(arm), *_of_its_course(arm)]
    lines += _of_the_data(comparison)
    if comparison.missing:
        lines.append(f"{comparison.missing} final trials are missing; run the experiment again to carry them out.")
    return lines


def _of_the_data(comparison: Comparison) -> list[str]:
    """Say where the data themselves limit what a score means."""
    data = comparison.measurements[0].data if comparison.measurements else None
    if data is None or not data.shared:
        return []
    return [
        f"{data.shared:,} of the {data.rows['train']:,} texts trained on also stand in test, where a score may show "
        "memory instead of learning; `task.data.drop_shared: true` leaves them out of training."
    ]


def _of_its_rate(arm: ArmSummary) -> list[str]:
    """Say where an arm may not have had its best learning rate."""
    if arm.choice is None or arm.choice.rate is None:
        return []
    rate = numbers.rate(arm.choice.rate)
    if not arm.choice.tried:
        return [f"{arm.name} was not tuned: it was given one learning rate, {rate}."]
    if arm.choice.is_at_edge:
        return [f"{arm.name} chose {rate}, the edge of the learning rates tried: a better one may lie beyond."]
    return []


def _of_its_course(arm: ArmSummary) -> list[str]:
    """Say where an arm's trainings did not go as planned."""
    lines = []
    found = list(arm.measurements.values())
    if arm.failures and found:
        reasons = ", ".join(sorted({failure.reason for failure in arm.failures}))
        lines.append(f"{arm.name}: {len(arm.failures)} of {len(arm.failures) + len(found)} seeds failed ({reasons}).")
    smallest = min((one.course.micro_batch for one in found), default=None)
    if smallest is not None and smallest < found[0].trial.conditions.batch_size:
        lines.append(
            f"{arm.name} ran out of memory with {found[0].trial.conditions.batch_size} texts in a forward pass; it was "
            f"trained with {smallest} and as many passes more, which leaves the gradient the same and takes longer."
        )
    early = [one for one in found if one.course.kept_step < one.course.planned_steps]
    if early:
        lines.append(f"{arm.name}: in {len(early)} of {len(found)} seeds the weights of an earlier step were the best.")
    return lines


def _beside(arm: ArmSummary, comparison: Comparison) -> str:
    metric = primary(comparison)
    difference = arm.differences.get(metric.name)
    if difference is None:
        why = why_missing(arm, comparison)
        return f"{arm.name} has no measurement" + (f" ({why})" if why else "")
    unit = " points" if metric.is_fraction else ""
    ratios = [
        f"{numbers.multiple(arm.ratios[name])} {what}"
        for name, what in (("training_seconds", "the training time"), ("training_memory", "the memory"))
        if name in arm.ratios
    ]
    word = "more" if difference.mean > 0 else "less"
    amount = numbers.difference(abs(difference.mean), metric).lstrip("+")
    is_same = amount == numbers.difference(0.0, metric).lstrip("+")
    return f"{arm.name} {'the same' if is_same else f'{amount}{unit} {word}'}, in {' and '.join(ratios)}"
