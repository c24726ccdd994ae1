"""The answer in a sentence: each arm beside the baseline, how sure that is, and what it cost."""

from __future__ import annotations

from loralab.comparison import Comparison
from loralab.report import numbers
from loralab.report.content import primary, why_missing
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
        f"Over {seeds} {'seed' if seeds == 1 else 'seeds'} and {facts.rows['test']:,} test texts, "
        f"{baseline.name} reached {numbers.score_spread(baseline.scores[metric.name], metric)} {metric.title.lower()}"
    )
    return "; ".join([lead, *(_beside(arm, comparison) for arm in comparison.others)]) + "."


def _beside(arm: ArmSummary, comparison: Comparison) -> str:
    metric = primary(comparison)
    if arm.verdict is None:
        why = why_missing(arm, comparison)
        return f"{arm.name} has no measurement" + (f" ({why})" if why else "")
    void = "is void, since a check failed; it " if arm.failed_checks else ""
    costs = [
        f"{numbers.multiple(arm.ratios[name].value)} {what}"
        for name, what in (("training_seconds", "the training time"), ("training_memory", "the memory"))
        if name in arm.ratios
    ]
    return f"{arm.name} {void}{_shown(arm.verdict, metric)}, in {' and '.join(costs)}"


def _shown(verdict: Verdict, metric: Metric) -> str:
    """Put direction and margin into words: 'was worse by 4.1 points (2.4 to 5.8), more than the 3.0 that matter'."""
    gain = verdict.gain
    matters = numbers.amount(verdict.margin, metric)
    answer = {
        MarginAnswer.INFERIOR: f"by more than the {matters} that matter",
        MarginAnswer.EQUIVALENT: f"equivalent within {matters}",
        MarginAnswer.NON_INFERIOR: f"not worse by {matters}",
        MarginAnswer.UNDECIDED: f"which leaves open whether it is worse by {matters}",
    }[verdict.margin_answer]
    if verdict.direction is Direction.NOT_SHOWN:
        interval = numbers.differences(gain.value, gain.interval(), metric)
        return f"differed by {interval}, no direction shown, {answer}"
    better = verdict.direction is Direction.BETTER
    shown = gain if better else gain.mirrored()
    low, high = shown.interval()
    amounts = f"{numbers.amount(shown.value, metric)} ({numbers.bare(low, metric)} to {numbers.bare(high, metric)})"
    return f"was {'better' if better else 'worse'} by {amounts}, {answer}"
