"""Charts as Altair descriptions, drawn to SVG by vl-convert: no browser, no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import altair as alt

from loralab.comparison import Comparison
from loralab.report import content
from loralab.results import Point
from loralab.tasks.metrics import Metric

WIDTH, HEIGHT = 300, 200
COLOURS = ("#3366aa", "#cc6633", "#559944", "#aa4488", "#888800", "#008899", "#994444", "#666666")
LABELS_SHOWN = 20  # a confusion matrix of more labels is no longer legible
Chart = Any  # Altair's charts have no common public type


def draw(comparison: Comparison) -> Mapping[str, str]:
    """Return every chart that has something to show, by name, as SVG."""
    import vl_convert

    charts = {
        "quality": _quality,
        "forgetting": _forgetting,
        "curves": _curves,
        "learning-rates": _learning_rates,
        "confusion": _confusion,
    }
    drawn = {}
    for name, make in charts.items():
        chart = make(comparison)
        if chart is not None:
            styled = chart.configure(font="Helvetica, Arial, sans-serif").configure_view(strokeOpacity=0.2)
            drawn[name] = vl_convert.vegalite_to_svg(styled.to_dict())
    return drawn


def _arm_colour(comparison: Comparison) -> Chart:
    arms = list(comparison.arms)
    colours = [COLOURS[position % len(COLOURS)] for position in range(len(arms))]
    return alt.Color("arm:N", title="Arm", scale=alt.Scale(domain=arms, range=colours))


def _quality(comparison: Comparison) -> Chart | None:
    """Every seed's score on test, a row an arm."""
    metric = comparison.experiment.primary_metric
    points = [
        {"arm": arm.name, "seed": seed, "score": _shown(value, metric)}
        for arm in comparison.arms.values()
        for seed, value in (arm.scores[metric.name].values.items() if metric.name in arm.scores else ())
    ]
    if not points:
        return None
    axis = alt.Axis(format=".0%") if metric.scale == "share" else alt.Axis()
    base = alt.Chart(alt.InlineData(values=points)).encode(
        x=alt.X("score:Q", title=f"{metric.title} on test", axis=axis, scale=alt.Scale(zero=False, nice=True)),
        y=alt.Y("arm:N", title=None, sort=list(comparison.arms)),
        color=_arm_colour(comparison).legend(None),
    )
    seeds = base.mark_circle(size=60, opacity=0.7)
    means = base.mark_tick(thickness=2, size=18).encode(x=alt.X("mean(score):Q"))
    return (seeds + means).properties(
        width=2 * WIDTH, height=alt.Step(28), title="Each seed's score; the bar is the mean"
    )


def _shown(value: float, metric: Metric) -> float:
    return math.exp(value) if metric.scale == "log" else value


def _forgetting(comparison: Comparison) -> Chart | None:
    """What each seed learnt against what it lost elsewhere, a panel for each set from elsewhere."""
    found = comparison.forgetting
    if found is None:
        return None
    panels = []
    for place, metric in enumerate(found.metrics[1:], start=1):
        points = [
            {"arm": arm, "seed": seed, "gain": -math.expm1(changes[0]), "loss": math.expm1(changes[place])}
            for arm, of_seed in found.of_seeds.items()
            for seed, changes in of_seed.items()
        ]
        zero = (
            alt.Chart(alt.InlineData(values=[{"loss": 0}])).mark_rule(strokeDash=[4, 4], opacity=0.6).encode(y="loss:Q")
        )
        seeds = (
            alt.Chart(alt.InlineData(values=points))
            .mark_circle(size=70, opacity=0.75)
            .encode(
                x=alt.X(
                    "gain:Q",
                    title="Learnt: perplexity lower by",
                    axis=alt.Axis(format=".0%", tickCount=6),
                    scale=alt.Scale(zero=False, nice=True),
                ),
                y=alt.Y("loss:Q", title=f"{metric.phrase}: higher by", axis=alt.Axis(format="+.0%", tickCount=6)),
                color=_arm_colour(comparison),
            )
        )
        panels.append((zero + seeds).properties(width=WIDTH, height=HEIGHT, title=metric.title.partition(", ")[2]))
    return alt.concat(*panels, columns=2).resolve_scale(color="shared")


def _curves(comparison: Comparison) -> Chart | None:
    """Loss, and accuracy where there are labels, in training and validation, a thin line for each seed."""
    loss = comparison.experiment.conditions.task.tuning_metric
    reads: dict[str, Callable[[Point], float | None]] = {
        "Loss, training": lambda p: p.training_loss,
        "Loss, validation": lambda p: p.validation[loss] if p.validation else None,
        "Accuracy, training": lambda p: p.training_accuracy,
        "Accuracy, validation": lambda p: p.validation.get("accuracy") if p.validation else None,
    }
    panels = []
    for title, read in reads.items():
        points = [
            {"arm": found.trial.arm, "seed": found.trial.seed, "epoch": point.epoch, "value": value}
            for found in comparison.measurements
            for point in found.curve
            if (value := read(point)) is not None
        ]
        if not points:
            continue
        axis = alt.Axis(format=".0%") if title.startswith("Accuracy") else alt.Axis()
        # One validation an epoch may be the only point of a line, so lines carry points there.
        points_too = {"size": 18} if "validation" in title else False
        panels.append(
            alt.Chart(alt.InlineData(values=points))
            .mark_line(strokeWidth=1.2, opacity=0.75, point=points_too)
            .encode(
                x=alt.X("epoch:Q", title="Epoch"),
                y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
                color=_arm_colour(comparison),
                detail="seed:N",
            )
            .properties(width=WIDTH, height=HEIGHT, title=title)
        )
    return alt.concat(*panels, columns=2).resolve_scale(color="shared") if panels else None


def _learning_rates(comparison: Comparison) -> Chart | None:
    """Validation score of every rate tried."""
    metric = content.tuning_metric(comparison)
    points = [
        {"arm": arm.name, "rate": rate, "score": _shown(score, metric), "chosen": rate == arm.choice.rate}
        for arm in comparison.arms.values()
        if arm.choice
        for rate, score in arm.choice.tried.items()
        if score is not None
    ]
    if not points:
        return None
    title = f"Validation {metric.phrase}"
    base = alt.Chart(alt.InlineData(values=points)).encode(
        x=alt.X("rate:Q", title="Learning rate", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e", tickCount=6)),
        y=alt.Y("score:Q", title=title, scale=alt.Scale(zero=False)),
        color=_arm_colour(comparison),
    )
    lines = base.mark_line(strokeWidth=1.2)
    dots = base.mark_point(filled=True, size=50).encode(
        shape=alt.Shape("chosen:N", title="Chosen", scale=alt.Scale(domain=[True, False], range=["diamond", "circle"])),
        size=alt.Size("chosen:N", legend=None, scale=alt.Scale(domain=[True, False], range=[160, 40])),
    )
    return (lines + dots).properties(width=2 * WIDTH, height=HEIGHT, title="Learning rates tried")


def _confusion(comparison: Comparison) -> Chart | None:
    """What each label was taken for, in per cent of the label's texts, a panel an arm."""
    matrices = content.confusions(comparison)
    if not matrices:
        return None
    names = comparison.measurements[0].data.label_names
    if len(names) > LABELS_SHOWN:
        return None
    panels = []
    for arm, matrix in matrices.items():
        cells = [
            {"true": names[i], "predicted": names[j], "share": count / max(1, sum(row))}
            for i, row in enumerate(matrix)
            for j, count in enumerate(row)
        ]
        base = alt.Chart(alt.InlineData(values=cells)).encode(
            x=alt.X("predicted:N", title="Predicted", sort=list(names), axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("true:N", title="True", sort=list(names)),
        )
        tiles = base.mark_rect().encode(
            color=alt.Color("share:Q", title="Share", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None)
        )
        figures = base.mark_text(fontSize=10).encode(
            text=alt.Text("share:Q", format=".0%"),
            color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value("black")),
        )
        panels.append((tiles + figures).properties(width=alt.Step(38), height=alt.Step(26), title=arm))
    return alt.concat(*panels, columns=2, title="Share of each true label's texts, seeds together")
