"""What the answer rests on and what limits it."""

from __future__ import annotations

from loralab.comparison import Comparison
from loralab.report import numbers
from loralab.report.content import primary
from loralab.statistics.decisions import LEVEL, MarginAnswer, Verdict
from loralab.statistics.needed import both_needed, detectable, is_beyond_seeds, items_needed, seeds_needed
from loralab.summary import ArmSummary


def caveats(comparison: Comparison) -> list[str]:
    """Say how the answer is meant, what it would take to decide what is open, and what limits it."""
    lines = [*_unfair(comparison), *_void(comparison)]
    if comparison.verdicts:
        lines += [_how_it_is_meant(comparison), *_of_seeds(comparison)]
    for name, verdict in comparison.verdicts.items():
        if verdict.margin_answer is MarginAnswer.UNDECIDED:
            lines.append(_what_it_would_take(name, verdict, comparison))
    for arm in comparison.arms.values():
        lines += [*_of_its_rate(arm), *_of_its_course(arm)]
    lines += _of_the_data(comparison)
    if comparison.missing:
        lines.append(f"{len(comparison.missing)} final trials are missing; run the experiment again to carry them out.")
    return lines


def _unfair(comparison: Comparison) -> list[str]:
    return [
        f"This is not a fair comparison: the arms differ in {deviation.name} ({deviation.seen})."
        for deviation in comparison.fairness.deviations
    ]


def _void(comparison: Comparison) -> list[str]:
    return [
        f"{arm.name} is void: it isn't true that {check.name} ({check.seen})."
        for arm in comparison.arms.values()
        for check in arm.failed_checks
    ]


def _how_it_is_meant(comparison: Comparison) -> str:
    metric = primary(comparison)
    matters = numbers.amount(comparison.experiment.primary_margin, metric)
    looks = len(comparison.experiment.seeds_by_look)
    level = f"{100 * LEVEL:g} %" + (f", a {looks}th of it at each of {looks} looks" if looks > 1 else "")
    return (
        f"Intervals are 95 %, not adjusted for the number of arms, and hold for the learning rates that were chosen. "
        f"Direction and margin are decided at {level}, over all arms (Holm). A difference matters from {matters} on."
    )


def _of_seeds(comparison: Comparison) -> list[str]:
    seeds = min(verdict.gain.seeds for verdict in comparison.verdicts.values())
    if seeds == 1:
        return ["With one seed, nothing is known of how much another would change: intervals cover test texts alone."]
    if comparison.seeds != comparison.experiment.seeds and not comparison.missing:
        return [f"Seeds ended after {len(comparison.seeds)}: more would add nothing."]
    return []


def _what_it_would_take(name: str, verdict: Verdict, comparison: Comparison) -> str:
    """Say from which difference on the design sees one, and what would decide the margin."""
    gain, margin, metric = verdict.gain, verdict.margin, primary(comparison)
    level = comparison.experiment.level_of_an_arm
    seen = f"{name} is undecided: with this design, differences from {numbers.amount(detectable(gain, level), metric)}"
    seeds, items = seeds_needed(gain, margin, level), items_needed(gain, margin, level)
    ways = [f"{seeds} seeds"] if seeds else []
    ways += [f"{items:,} test texts"] if items and items > gain.items else []
    if not ways and (both := both_needed(gain, margin, level)):
        ways = [f"{both[0]} seeds and {both[1]:,} test texts together"]
    would = f"{' or '.join(ways)} would decide it" if ways else "no larger design at hand would decide it"
    if ways and not seeds and is_beyond_seeds(gain, margin, level):
        would += ", and no number of seeds on these"
    return f"{seen} on are mostly shown; if the difference stays as it is, {would}."


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
