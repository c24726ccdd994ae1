"""The answer in a sentence: each arm beside the baseline, how sure that is, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from loralab.comparison import Comparison
from loralab.report import numbers
from loralab.report.content import judged_items, judged_set, of_seeds, primary, why_missing, why_not_judged
from loralab.statistics.decisions import Direction, MarginAnswer, Verdict
from loralab.summary import ArmSummary
from loralab.tasks.metrics import Metric

MANY = 3  # other arms; of more, those of which the same is shown are told together

ANSWERS = {
    MarginAnswer.EQUIVALENT: "equivalent within",
    MarginAnswer.NON_INFERIOR: "not worse by",
    MarginAnswer.UNDECIDED: "which leaves open whether it is worse by",
    MarginAnswer.INFERIOR: "by more than",
}


def sentence(comparison: Comparison, about: str | None = None) -> str:
    """State what is shown of each arm's difference from the baseline and what it cost, in a sentence.

    The arm that it is `about` is told by itself, however many others there are.
    """
    baseline, metric = comparison.baseline, primary(comparison)
    if not baseline.measurements:
        reason = why_missing(baseline, comparison)
        why = f"all its trials failed ({reason})" if reason else "has no finished trial yet"
        return f"There is nothing to compare with: {baseline.name}, the baseline, {why}."
    facts = next(iter(baseline.measurements.values())).data
    seeds = len(baseline.measurements)
    lead = (
        f"Over {numbers.several(seeds, 'seed')} and {facts.rows[judged_set(comparison)]:,} {judged_items(comparison)}, "
        f"{baseline.name} reached {_reached(numbers.score_spread(baseline.scores[metric.name], metric), metric)}"
    )
    if baseline.is_void:
        lead += f", but {why_not_judged(baseline, comparison)}"
    return "; ".join([lead, *(_beside(arms, comparison) for arms in _told_together(comparison, about))]) + "."


def _reached(score: str, metric: Metric) -> str:
    """Put a score into words: '67.1 % accuracy', 'a perplexity of 171.9'."""
    return f"a {metric.phrase} of {score}" if metric.scale == "log" else f"{score} {metric.phrase}"


def _told_together(comparison: Comparison, about: str | None) -> list[list[ArmSummary]]:
    """Return the other arms, each by itself or, where they are many, grouped by what is shown of them."""
    if len(comparison.others) <= MANY:
        return [[arm] for arm in comparison.others]
    groups: dict[Hashable, list[ArmSummary]] = {}
    for arm in comparison.others:
        shown = (arm.verdict.direction, arm.verdict.margin_answer) if arm.verdict else why_not_judged(arm, comparison)
        groups.setdefault(arm.name if arm.name == about else shown, []).append(arm)
    return list(groups.values())


def _beside(arms: Sequence[ArmSummary], comparison: Comparison) -> str:
    """Tell what is shown of an arm, or of several of which the same is."""
    names = [f"{arm.name}{of_seeds(arm)}" for arm in arms]
    who = names[0] if len(arms) == 1 else f"each of {', '.join(names[:-1])} and {names[-1]}"
    verdict = arms[0].verdict
    if verdict is None:
        return f"{who} {why_not_judged(arms[0], comparison)}"
    costs = [
        f"{_span(sorted(ratios), numbers.multiple)} {what}"
        for name, what in (("training_seconds", "the training time"), ("training_memory", "the memory"))
        if (ratios := [arm.ratios[name].value for arm in arms if name in arm.ratios])
    ]
    return f"{who} {_shown(arms, verdict, primary(comparison))}, in {' and '.join(costs)}"


def _span(ordered: Sequence[float], written: Callable[[float], str]) -> str:
    """Write the first and the last, or the one text where both are written alike."""
    return " to ".join(dict.fromkeys([written(ordered[0]), written(ordered[-1])]))


def _shown(arms: Sequence[ArmSummary], verdict: Verdict, metric: Metric) -> str:
    """Put direction and margin into words: 'was worse by 2 points (1 to 3), not worse by the margin of 4 points'."""
    answer = f"{ANSWERS[verdict.margin_answer]} the margin of {numbers.margin(verdict.margin, metric)}"
    if verdict.direction is Direction.NOT_SHOWN:
        return f"differed by {_signed(arms, metric)}, no direction shown, {answer}"
    return f"was {verdict.direction.value} by {_unsigned(arms, metric)}, {answer}"


def _signed(arms: Sequence[ArmSummary], metric: Metric) -> str:
    """Write an arm's difference with its interval, or between which differences several arms lie."""
    found = [arm.differences[metric.name] for arm in arms]  # its own sign, also where lower is better
    unit = " points" if metric.scale == "share" else ""
    if len(found) == 1:
        return numbers.differences(found[0].value, found[0].interval(), metric, unit)
    return _span(sorted(one.value for one in found), lambda value: numbers.difference(value, metric)) + unit


def _unsigned(arms: Sequence[ArmSummary], metric: Metric) -> str:
    """Write as `_signed` how large differences of one sign are."""
    found = [arm.differences[metric.name] for arm in arms]
    if len(found) == 1:
        return numbers.sizes(found[0].value, found[0].interval(), metric)
    unit = " points" if metric.scale == "share" else ""
    ordered = sorted((one.value for one in found), key=abs)
    return _span(ordered, lambda value: numbers.bare(value, metric).removeprefix(numbers.MINUS)) + unit
