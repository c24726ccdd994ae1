"""How training went: loss and score over the epochs, and the learning rates tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt

from loralab.comparison import Comparison
from loralab.report import content, numbers
from loralab.report.charts.answers import as_shown
from loralab.report.charts.figure import (
    HEIGHT,
    SHARES,
    Figure,
    Panels,
    arm_colour,
    arm_dash,
    score_axis,
    score_scale,
    values,
)
from loralab.results import Point


def curves(comparison: Comparison) -> Figure | None:
    """Loss, accuracy where there are labels, and the primary metric: a thin line for each seed."""
    loss, decided = comparison.experiment.conditions.task.tuning_metric, content.primary(comparison)
    reads: dict[str, Callable[[Point], float | None]] = {
        "Loss, training": lambda p: p.training_loss,
        "Loss, validation": lambda p: p.validation[loss] if p.validation else None,
        "Accuracy, training": lambda p: p.training_accuracy,
        "Accuracy, validation": lambda p: p.validation.get("accuracy") if p.validation else None,
    }
    if decided.name not in (loss, "accuracy"):
        reads[f"{decided.title}, validation"] = lambda p: p.validation.get(decided.name) if p.validation else None
    panels: Panels = {}
    for title, read in reads.items():
        points = [
            {"arm": found.trial.arm, "seed": found.trial.seed, "epoch": point.epoch, "value": value}
            for found in comparison.measurements
            for point in found.curve
            if (value := read(point)) is not None
        ]
        if not points:
            continue
        is_share = not title.startswith("Loss") and (title.startswith("Accuracy") or decided.scale == "share")
        form, axis = (".1%", alt.Axis(format=SHARES)) if is_share else (".3f", alt.Axis())
        tooltip = [
            alt.Tooltip("arm:N", title="Arm"),
            alt.Tooltip("seed:N", title="Seed"),
            alt.Tooltip("epoch:Q", title="Epoch", format=".2f"),
            alt.Tooltip("value:Q", title=title, format=form),
        ]
        base = alt.Chart(values(points)).encode(
            x=alt.X("epoch:Q", title="Epoch"),
            y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
            color=arm_colour(comparison),
        )
        # A line is one thing to the pointer, whose figures would be those of its first point. One validation an epoch
        # may be the only point of a line, and is drawn; those of training are there for the pointer alone.
        dots = {"size": 18, "opacity": 0.75} if "validation" in title else {"size": 60, "opacity": 0}
        lines = base.mark_line(strokeWidth=1.2, opacity=0.75).encode(detail="seed:N", strokeDash=arm_dash(comparison))
        panels[title,] = (lines + base.mark_circle(**dots).encode(tooltip=tooltip)).properties(height=HEIGHT)
    return Figure("curves", "Loss and scores in training and validation", panels) if panels else None


def learning_rates(comparison: Comparison) -> Figure | None:
    """Validation score of every rate tried."""
    metric = content.tuning_metric(comparison)
    points: list[dict[str, Any]] = [
        {
            "arm": arm.name,
            "rate": rate,
            "score": as_shown(score, metric),
            "told": numbers.score(score, metric),
            "told_rate": numbers.rate(rate),
            "chosen": "chosen" if content.is_chosen(rate, arm, comparison) else "tried",
        }
        for arm in comparison.arms.values()
        if arm.choice
        for rate, score in arm.choice.tried.items()
        if score is not None
    ]
    if not points:
        return None
    title = f"Validation {metric.phrase}"
    scale = score_scale(metric, [point["score"] for point in points])
    base = alt.Chart(values(points)).encode(
        x=alt.X("rate:Q", title="Learning rate", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e", tickCount=6)),
        y=alt.Y("score:Q", title=title, scale=scale, axis=score_axis(metric)),
        color=arm_colour(comparison),
    )
    order = ["chosen", "tried"]
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(
        shape=alt.Shape("chosen:N", title=None, scale=alt.Scale(domain=order, range=["diamond", "circle"])),
        size=alt.Size("chosen:N", legend=None, scale=alt.Scale(domain=order, range=[160, 40])),
        tooltip=[
            alt.Tooltip("arm:N", title="Arm"),
            alt.Tooltip("told_rate:N", title="Learning rate"),
            alt.Tooltip("told:N", title=title),
        ],
    )
    chart = (base.mark_line(strokeWidth=1.2).encode(strokeDash=arm_dash(comparison)) + dots).properties(height=HEIGHT)
    return Figure("learning-rates", "Learning rates tried", {("Learning rates tried",): chart})
