"""Several experiments side by side: what each arm came to in each of them, and in which conditions they differ."""

from __future__ import annotations

from collections.abc import Mapping

from loralab.comparison import Comparison
from loralab.folder import flat
from loralab.report import content, numbers
from loralab.report.conditions import facts
from loralab.report.content import Table
from loralab.report.limits import faults, reservations
from loralab.report.rendering import render
from loralab.summary import COST_BY_NAME, ArmSummary

TOLD_BY_SETTINGS = ("Model", "Training", "Other settings", "Blocks", "Scored besides")
Runs = Mapping[str, Comparison]  # by the names under which they are told apart


def outcomes(runs: Runs) -> Table:
    """Each arm in each experiment: its score, its difference from that experiment's baseline, and its costs."""
    arms = dict.fromkeys(name for found in runs.values() for name in found.arms)
    rows = [
        [arm, run, *_outcome(found.arms[arm], found)]
        for arm in arms
        for run, found in runs.items()
        if arm in found.arms
    ]
    return Table(["Arm", "Experiment", "Score", "vs baseline (95 %)", "Direction", "Margin", "Time", "Memory"], rows)


def _outcome(arm: ArmSummary, comparison: Comparison) -> list[str]:
    metric = content.primary(comparison)
    score = content.why_missing(arm, comparison) or numbers.score_spread(arm.scores.get(metric.name), metric)
    seeds = content.of_seeds(arm)
    needs_its_name = metric.scale != "share" and arm.measurements
    verdict, found = arm.verdict, arm.differences.get(metric.name)
    shown = ["", "", ""]
    if arm.is_void:
        shown = ["void", "void", "void"]
    elif verdict is not None and found is not None:
        margin = numbers.bare_margin(verdict.margin, metric)
        shown = [
            numbers.differences(found.value, found.interval(), metric),
            verdict.direction.value,
            f"{verdict.margin_answer.value} ({margin})",
        ]
    told = [
        numbers.cost(arm.costs[name].mean, COST_BY_NAME[name]) if name in arm.costs else numbers.UNKNOWN
        for name in ("training_seconds", "training_memory")
    ]
    return [(f"{score} {metric.phrase}" if needs_its_name else score) + seeds, *shown, *told]


def differing(runs: Runs) -> Table:
    """The settings in which the experiments differ, by their places in an experiment file, and what else was found to
    differ, data and machine among it; they share all others."""
    told = {run: {**_settings(found), **_found(found)} for run, found in runs.items()}
    names = dict.fromkeys(name for found in told.values() for name in found)
    rows = []
    for name in names:
        values = [found.get(name, numbers.UNKNOWN) for found in told.values()]
        if len(set(values)) > 1:
            rows.append([name, *values])
    return Table(["Condition", *runs], rows)


def _settings(comparison: Comparison) -> Mapping[str, str]:
    """Every setting, by its place. Methods and learning rates of arms are settings, too."""
    return {place: str(value) for place, value in flat(comparison.experiment.model_dump(mode="json")).items()}


def _found(comparison: Comparison) -> Mapping[str, str]:
    """What settings don't say: data, model and machine as they were."""
    if not comparison.measurements:
        return {}
    first = comparison.measurements[0]
    told = {name: value for name, value in facts(comparison).items() if name not in TOLD_BY_SETTINGS}
    return {
        **told,
        "Content of the data": first.data.sha256,
        "Content of the model": first.sameness.model_revision,
        "Content of the tokenizer": first.sameness.tokenizer_revision,
    }


def meaning(runs: Runs) -> list[str]:
    """Say what may be read from the two tables and what not."""
    lines = [
        "Each difference is from the baseline of its own experiment, within which everything was shared; between two "
        "experiments, figures also differ by the conditions that stand below."
    ]
    lines += [f"{run}: {line}" for run, found in runs.items() for line in (*faults(found), *reservations(found))]
    metrics = {content.primary(found).phrase for found in runs.values()}
    if len(metrics) > 1:
        lines.append(f"They are about different metrics: {', '.join(sorted(metrics))}.")
    if not differing(runs).rows:
        are_measured = any(found.measurements for found in runs.values())
        lines.append(f"They share every setting{', the data and the machine' if are_measured else ''}.")
    return lines


def document(runs: Runs) -> str:
    """Return both tables as Markdown."""
    return render("beside.md.j2", {"outcomes": outcomes(runs), "differing": differing(runs), "meaning": meaning(runs)})
