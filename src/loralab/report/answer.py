"""The answer in a sentence: each arm beside the baseline, how sure that is, and what it cost."""

from __future__ import annotations

from loralab.comparison import Comparison
from loralab.report import numbers
from loralab.report.content import items, of_seeds, primary, why_missing, why_not_judged
from loralab.statistics.decisions import Direction, MarginAnswer, Verdict
from loralab.summary import ArmSummary
from loralab.tasks.metrics import Metric


def sentence(comparison: Comparison) -> str:
    """State what is shown of each arm's difference from the baseline and what it cost, in a sentence."""
    baseline, metric = comparison.baseline, primary(comparison)
    if not baseline.measurements:
        reason = why_missing(baseline, comparison)
        why = f"its trials failed ({reason})" if reason else "it has no finished trial yet"
        return f"There is nothing to compare with: {why} ({baseline.name} is the baseline)."
    facts = next(iter(baseline.measurements.values())).data
    seeds = len(baseline.measurements)
    lead = (
        f"Over {seeds} {'seed' if seeds == 1 else 'seeds'} and {facts.rows['test']:,} test {items(comparison)}, "
        f"{baseline.name} reached {_reached(numbers.score_spread(baseline.scores[metric.name], metric), metric)}"
    )
    if baseline.is_void:
        lead += f", but {why_not_judged(baseline, comparison)}"
    return "; ".join([lead, *(_beside(arm, comparison) for arm in comparison.others)]) + "."


def _reached(score: str, metric: Metric) -> str:
    """Put a score into words: '67.1 % accuracy', 'a perplexity of 171.9'."""
    return f"a {metric.phrase} of {score}" if metric.scale == "log" else f"{score} {metric.phrase}"


def _beside(arm: ArmSummary, comparison: Comparison) -> str:
    if arm.verdict is None:
        return f"{arm.name} {why_not_judged(arm, comparison)}"
    costs = [
        f"{numbers.multiple(arm.ratios[name].value)} {what}"
        for name, what in (("training_seconds", "the training time"), ("training_memory", "the memory"))
        if name in arm.ratios
    ]
    told = f"{arm.name}{of_seeds(arm)} {_shown(arm, arm.verdict, primary(comparison))}"
    return f"{told}, in {' and '.join(costs)}"


def _shown(arm: ArmSummary, verdict: Verdict, metric: Metric) -> str:
    """Put direction and margin into words: 'was worse by 4.1 points (2.4 to 5.8), more than the margin of 3 points'."""
    margin = f"the margin of {numbers.margin(verdict.margin, metric)}"
    found = arm.differences[metric.name]  # its own sign, also where lower is better
    answer = {
        MarginAnswer.INFERIOR: f"by more than {margin}",
        MarginAnswer.EQUIVALENT: f"equivalent within {margin}",
        MarginAnswer.NON_INFERIOR: f"not worse by {margin}",
        MarginAnswer.UNDECIDED: f"which leaves open whether it is worse by {margin}",
    }[verdict.margin_answer]
    if verdict.direction is Direction.NOT_SHOWN:
        unit = " points" if metric.scale == "share" else ""
        amounts = numbers.differences(found.value, found.interval(), metric, unit)
        return f"differed by {amounts}, no direction shown, {answer}"
    better = verdict.direction is Direction.BETTER
    amounts = numbers.sizes(found.value, found.interval(), metric)
    return f"was {'better' if better else 'worse'} by {amounts}, {answer}"
