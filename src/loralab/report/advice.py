"""The recommendation in words, and its rule."""

from __future__ import annotations

from loralab.comparison import Comparison
from loralab.recommendation import BreakEven, NoReason, Turn
from loralab.report import numbers
from loralab.report.content import items
from loralab.results import MERGED
from loralab.statistics.ratios import Ratio
from loralab.summary import ArmSummary

RULE = (
    "The rule: of the baseline and the arms shown to be non-inferior to it, the one that costs least in what the "
    "experiment prefers; void arms, and those with failed trials, are left out. Nothing is recommended where the "
    "comparison is not fair or not finished, after one seed, where a price is unknown, or where only the baseline "
    "qualifies while some are undecided."
)


def recommendation(comparison: Comparison) -> list[str]:
    """Say which arm to take and why, what comes next, and where that turns; or why nothing can be said."""
    found, arms = comparison.recommendation, comparison.arms
    failed = [arm.name for arm in comparison.others if arm.failures and arm.measurements]
    left_out = [f"Not considered, since trials failed: {', '.join(failed)}."] if failed else []
    other_arm = "other arm without failed trials" if failed else "other arm"
    if not comparison.others:
        return []
    if found.arm is None:
        return [f"No recommendation: {_why_not(comparison, other_arm)}.", *left_out]
    price = found.price
    baseline = comparison.baseline

    def told(name: str) -> str:
        ratio = arms[name].ratios.get(price.name)
        beside = f", {numbers.multiple(ratio.value)} {baseline.name}'s" if ratio and name != baseline.name else ""
        return f"{numbers.cost(arms[name].costs[price.name].mean, price)}{beside}"

    if found.arm == baseline.name:
        why = (
            f"no {other_arm} was shown to be non-inferior"
            if found.runner_up is None
            else "the cheapest of those not worse"
        )
        why = why if comparison.verdicts else "no other arm has a verdict"
        lines = [f"Recommended: {found.arm}: {why} ({price.phrase}: {told(found.arm)})."]
    else:
        lines = [
            f"Recommended: {found.arm}: not worse than {baseline.name} by what matters, and of such arms the cheapest "
            f"in {price.phrase} ({told(found.arm)})."
        ]
    if found.runner_up is not None:
        lines.append(f"Next: {found.runner_up} ({told(found.runner_up)}{_how_sure(found.lead)}).")
    lines += left_out
    if found.undecided:
        lines.append(f"Undecided, and so not considered: {', '.join(found.undecided)}.")
    return [*lines, *(_turns(arms[found.arm], baseline.name, even, items(comparison)) for even in found.break_evens)]


def _how_sure(lead: Ratio | None) -> str:
    """Say what is open about the runner-up's costing more."""
    if lead is not None and lead.value == 1:
        return "; it costs the same"
    by_chance = lead is None or lead.interval is None or lead.interval[0] <= 1
    return "; that it costs more may be chance" if by_chance else ""


def _why_not(comparison: Comparison, other_arm: str) -> str:
    found = comparison.recommendation
    match found.reason:
        case NoReason.NO_BASELINE:
            return f"{comparison.baseline.name}, the baseline, has no measurement, failed trials, or is void"
        case NoReason.NOT_FAIR:
            return "the arms were not compared fairly"
        case NoReason.UNFINISHED:
            return "the comparison isn't finished"
        case NoReason.ONE_SEED:
            return "after one seed it isn't known what another would change"
        case NoReason.UNKNOWN_PRICE:
            return f"of some arm it is unknown what it costs in {found.price.phrase}"
        case _:
            shown = f"no {other_arm} was shown to be non-inferior to {comparison.baseline.name}"
            return f"{shown}, and {_listed(found.undecided)}"


def _listed(undecided: tuple[str, ...]) -> str:
    return f"{', '.join(undecided)} {'is' if len(undecided) == 1 else 'are'} undecided"


def _turns(arm: ArmSummary, baseline: str, even: BreakEven, what: str) -> str:
    if even.turn is Turn.STORAGE:
        return (
            f"From {even.count:,} tasks on, one base model plus {arm.name}'s adapters takes less disk than one model "
            f"of {baseline} per task."
        )
    spent = f"after about {numbers.about(even.count)} {what} the training time that it saved is spent"
    if any(check.name == MERGED for found in arm.measurements.values() for check in found.checks):
        return f"Unmerged, {arm.name} scores slower: {spent}; merging the adapter avoids it."
    return f"{arm.name} scores slower: {spent}."
