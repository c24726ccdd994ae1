"""What the answer rests on and what limits it."""

from __future__ import annotations

from collections.abc import Sequence

from loralab.comparison import Comparison
from loralab.fairness import ORDER
from loralab.report import numbers
from loralab.report.content import items, judged_items, primary
from loralab.results import RELOADED, Measurement
from loralab.statistics.decisions import LEVEL, MarginAnswer, Verdict
from loralab.statistics.needed import both_needed, detectable, is_beyond_seeds, items_needed, seeds_needed
from loralab.summary import ArmSummary
from loralab.tasks.items import LabelScores


def caveats(comparison: Comparison) -> list[str]:
    """Say how the answer is meant, what it would take to decide what is open, and what limits it."""
    lines = faults(comparison)
    if comparison.verdicts:
        lines += _sound(comparison)
        lines += [_how_it_is_meant(comparison), *_of_seeds(comparison)]
    for name, verdict in comparison.verdicts.items():
        if verdict.margin_answer is MarginAnswer.UNDECIDED:
            lines.append(_what_it_would_take(name, verdict, comparison))
    for arm in comparison.arms.values():
        lines += [*(_of_its_rate(arm) if comparison.rates_are_tried else []), *_of_its_course(arm)]
    about_data = [*_of_one_label(comparison), *_of_the_data(comparison)]
    return [*lines, *_of_machines(comparison), *about_data, *_unfinished(comparison)]


def faults(comparison: Comparison) -> list[str]:
    """Say what spoils the comparison, or an arm of it: this belongs wherever an answer is shown."""
    return [*_unfair(comparison), *_void(comparison)]


def reservations(comparison: Comparison) -> list[str]:
    """Say what a reader of the bare verdicts would take them for: settled over seeds, and the last word."""
    return [*_of_one_seed(comparison), *_unfinished(comparison)]


def _unfinished(comparison: Comparison) -> list[str]:
    if not comparison.missing:
        return []
    is_certain = comparison.rates_are_tried and comparison.seeds == comparison.experiment.seeds
    left = ("" if is_certain else "at least ") + numbers.several(len(comparison.missing), "trial")
    return [f"Still to be carried out: {left}; 'loralab run' goes on from there."]


def _unfair(comparison: Comparison) -> list[str]:
    return [
        f"This is not a fair comparison: the arms differ in {deviation.name} ({deviation.seen})."
        for deviation in comparison.fairness.deviations
    ]


def _void(comparison: Comparison) -> list[str]:
    """Name each check that an arm failed, and the first trial that failed it."""
    lines: dict[tuple[str, str], str] = {}
    for arm in comparison.arms.values():
        for seed, check in arm.failed_checks:
            line = f"{arm.name} is void: it isn't true that {check.name} (seed {seed}: {check.seen})."
            lines.setdefault((arm.name, check.name), line)
    return list(lines.values())


def _sound(comparison: Comparison) -> list[str]:
    """Say that the arms were treated alike and their trials are whole, where the results show it."""
    lines = []
    if comparison.fairness.is_fair:
        shared = len(comparison.fairness.checked) - len(comparison.fairness.exempt)
        is_exempt = any(deviation.name == ORDER for deviation in comparison.fairness.exempt)
        named = "" if is_exempt else f", from {ORDER} to threads"
        lines.append(f"Fair: the results show all {shared} things that arms must share{named}.")
    checks = [check for found in comparison.measurements for check in found.checks]
    if checks and all(check.passed for check in checks):
        lines.append(_whole(comparison.measurements, len(checks)))
    return lines


def _whole(measurements: Sequence[Measurement], checks: int) -> str:
    """Say that all checks were passed, and what could not be checked."""
    passed = numbers.several(len(measurements), "final trial")
    unknown = [found for found in measurements if all(check.name != RELOADED for check in found.checks)]
    if not unknown:
        return f"Whole: {passed} passed all {checks} checks."
    return (
        f"Not wholly checked: {passed} passed {checks} checks, but the saved models of {len(unknown)} could not be "
        "loaded again to be compared, for lack of memory."
    )


def _how_it_is_meant(comparison: Comparison) -> str:
    margin = numbers.margin(comparison.experiment.primary_margin, primary(comparison))
    looks = len(comparison.experiment.seeds_by_look)
    shared = f", {100 * comparison.experiment.level:.3g} % at each of {looks} looks" if looks > 1 else ""
    rates = "chosen" if comparison.experiment.is_tuned else "given"
    return (
        f"Intervals are 95 %, not adjusted for the number of arms or looks, and hold for the {rates} learning rates. "
        f"Verdicts are tested at {100 * LEVEL:g} % over all arms (Holm){shared}: direction two-sided, each claim about "
        f"the margin of {margin} one-sided."
    )


def _of_seeds(comparison: Comparison) -> list[str]:
    counts = {name: verdict.gain.seeds for name, verdict in comparison.verdicts.items()}
    lines = [
        f"{name} is compared over {count} of {len(comparison.seeds)} seeds, those that it shares with the baseline."
        for name, count in counts.items()
        if count < len(comparison.seeds) and not comparison.missing
    ]
    lines += _of_one_seed(comparison)
    if comparison.seeds != comparison.experiment.seeds and not comparison.missing:
        lines.append(f"Seeds ended after {len(comparison.seeds)}: more would hardly decide more.")
    return lines


def _of_one_seed(comparison: Comparison) -> list[str]:
    single = [name for name, verdict in comparison.verdicts.items() if verdict.gain.seeds == 1]
    if not single:
        return []
    return [
        f"With one seed ({', '.join(single)}), nothing is known of how much another would change: the interval "
        f"covers {judged_items(comparison)} alone."
    ]


def _what_it_would_take(name: str, verdict: Verdict, comparison: Comparison) -> str:
    """Say how large a difference the design mostly detects, and what would decide the margin."""
    gain, margin, metric = verdict.at_margin, verdict.margin, primary(comparison)
    level = comparison.experiment.level_of_an_arm
    least = detectable(verdict.gain, level)
    detected = f"mostly detects differences of {numbers.amount(least, metric)} or more"
    if metric.scale == "share" and least >= 1:
        detected = "detects hardly any difference"
    judged = judged_items(comparison)
    seeds = seeds_needed(gain, margin, level)
    # One seed doesn't tell how much seeds differ, which more items would leave.
    more_items = items_needed(gain, margin, level) if gain.seeds > 1 else None
    ways = ([f"{seeds} seeds"] if seeds else []) + ([f"{more_items:,} {judged}"] if more_items else [])
    if not ways and (both := both_needed(gain, margin, level)):
        ways = [f"{both[0]} seeds and {both[1]:,} {judged} together"]
    if gain.seeds == 1:
        would = "after one seed it isn't known what would decide it"
    elif ways:
        would = f"{' or '.join(ways)} would decide it in four of five such experiments"
    else:
        would = "no larger design at hand would decide it"
    if ways and not seeds and is_beyond_seeds(gain, margin, level):
        would += ", and no number of seeds on these"
    return f"{name} is undecided: this design {detected}; if the difference stays as seen, {would}."


def _of_the_data(comparison: Comparison) -> list[str]:
    """Say where the data themselves limit what a score means."""
    data = comparison.measurements[0].data if comparison.measurements else None
    if data is None:
        return []
    uses = (
        ("train", data.shared, "trained on"),
        ("validation", data.shared_validation, "that learning rates are chosen on"),
    )
    told = [f"{count:,} of the {data.rows[split]:,} {items(comparison)} {use}" for split, count, use in uses if count]
    if not told:
        return []
    return [
        f"{' and '.join(told)} also stand in test, where a score may show memory instead of learning; "
        "`task.data.drop_shared: true` leaves them out of both."
    ]


def _of_machines(comparison: Comparison) -> list[str]:
    """Say where seeds were carried out on different machines: within a seed, that would be unfair."""
    machines = {(found.environment.device_name, found.environment.device) for found in comparison.measurements}
    if len(machines) < 2:
        return []
    return [
        f"Seeds were carried out on {len(machines)} machines: seconds and bytes are means over them, and multiples of "
        "the baseline's are taken seed by seed."
    ]


def _of_one_label(comparison: Comparison) -> list[str]:
    """Say where test has a single label, which a model that always gives it gets all right."""
    first = next(iter(comparison.measurements), None)
    if first is None or not isinstance(first.items, LabelScores) or len(set(first.items.labels)) > 1:
        return []
    label = first.data.label_names[first.items.labels[0]]
    return [f"Every test text has the label {label}: scores don't say whether labels are told apart."]


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
        conditions = found[0].trial.conditions
        lines.append(
            f"{arm.name} ran out of memory with {conditions.batch_size} {conditions.task.example}s in a forward pass; "
            f"it was trained with {smallest} and as many passes more, which leaves the gradient the same and takes "
            "longer."
        )
    if stopped := [seed for seed, one in arm.measurements.items() if one.course.resumed]:
        lines.append(
            f"{arm.name}: {numbers.seeds(stopped)} went on from a checkpoint: the same scores, but its seconds may "
            "hold some work twice."
        )
    early = [one for one in found if one.course.kept_step < one.course.planned_steps]
    if early:
        lines.append(f"{arm.name}: in {len(early)} of {len(found)} seeds the weights of an earlier step were the best.")
    return lines
