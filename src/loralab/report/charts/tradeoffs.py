"""What is got for what: quality against cost, and what was learnt against what was lost."""

from __future__ import annotations

from typing import Any

import altair as alt

from loralab.comparison import Comparison
from loralab.report import content, numbers
from loralab.report.charts.answers import as_shown
from loralab.report.charts.figure import (
    FAR_APART,
    HEIGHT,
    SHARES,
    Chart,
    Figure,
    Panels,
    arm_colour,
    arm_shape,
    arm_stroke,
    score_axis,
    score_scale,
    values,
)
from loralab.summary import COST_BY_NAME, Quantity
from loralab.tasks.metrics import Metric

PRICES = ("training_seconds", "training_memory", "trainable_parameters", "saved_bytes")
UNITS = {
    "s": ((1, "s"), (60, "min"), (3600, "h")),
    "bytes": ((1, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")),
    "count": ((1, ""), (1e3, "thousands"), (1e6, "millions"), (1e9, "billions")),
}


def tradeoff(comparison: Comparison) -> Figure | None:
    """Quality against cost, both chosen by the reader; the line joins the arms that no other one beats in both."""
    first = content.primary(comparison)
    metrics = [first, *(metric for metric in comparison.experiment.conditions.task.metrics if metric != first)]
    prices = [COST_BY_NAME[name] for name in PRICES]
    panels: Panels = {
        (metric.title, price.title): chart
        for metric in metrics
        for price in prices
        if (chart := _panel(comparison, metric, price)) is not None
    }
    if not panels:
        return None
    text = "Quality against cost; the line joins the arms that no other one beats in both"
    return Figure(
        "tradeoff", text, panels, choices=("Quality", "Cost"), still=sum(key[0] == first.title for key in panels)
    )


def _panel(comparison: Comparison, metric: Metric, price: Quantity) -> Chart | None:
    arms = [arm for arm in comparison.arms.values() if metric.name in arm.scores and price.name in arm.costs]
    if not arms:
        return None
    factor, unit = _unit([arm.costs[price.name].mean for arm in arms], price)
    points: list[dict[str, Any]] = [
        {
            "arm": arm.name,
            "cost": arm.costs[price.name].mean / factor,
            "score": as_shown(arm.scores[metric.name].mean, metric),
            "told_cost": numbers.cost(arm.costs[price.name].mean, price),
            "told_score": numbers.score_spread(arm.scores[metric.name], metric),
            "counts": arm.is_sound,
        }
        for arm in arms
    ]
    costs = [point["cost"] for point in points]
    far_apart = min(costs) > 0 and max(costs) / min(costs) > FAR_APART
    kind = {"type": "log"} if far_apart else {"zero": True}
    scale = alt.Scale(**kind, nice=True, padding=12)
    title = price.title + (f", {unit}" if unit else "")
    x = alt.X("cost:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))
    y = alt.Y(
        "score:Q",
        title=metric.title,
        axis=score_axis(metric, tickCount=5),
        scale=score_scale(metric, [point["score"] for point in points], padding=14),
    )
    sound = [point for point, arm in zip(points, arms, strict=True) if arm.is_sound]
    front = alt.Chart(values(_front(sound, metric))).mark_line(strokeDash=[5, 4], opacity=0.6, color="#888888")
    tooltip = [
        alt.Tooltip("arm:N", title="Arm"),
        alt.Tooltip("told_score:N", title=metric.title),
        alt.Tooltip("told_cost:N", title=price.title),
    ]
    dots = alt.Chart(values(points)).mark_point(filled=True, size=130, opacity=0.9, strokeWidth=1.5)
    dots = dots.encode(
        x=x,
        y=y,
        color=arm_colour(comparison),
        shape=arm_shape(comparison),
        stroke=arm_stroke(comparison),
        fillOpacity=alt.condition("datum.counts", alt.value(0.9), alt.value(0)),
        tooltip=tooltip,
    )
    return (front.encode(x=x, y=y, order="cost:Q") + dots).properties(height=HEIGHT)


def _unit(costs: list[float], price: Quantity) -> tuple[float, str]:
    """Return what the costs are divided by, and the unit they are then in: the largest that makes them one or more."""
    return max((unit for unit in UNITS[price.unit] if unit[0] <= max(1, *costs)), key=lambda unit: unit[0])


def _front(points: list[dict[str, Any]], metric: Metric) -> list[dict[str, Any]]:
    """Return the points that no other one beats: as cheap or cheaper, as good or better, and not the same in both."""

    sign = -1 if metric.higher_is_better else 1
    prices = [(point["cost"], sign * point["score"]) for point in points]  # less is better in both

    def is_beaten(price: tuple[float, float]) -> bool:
        return any(one != price and one[0] <= price[0] and one[1] <= price[1] for one in prices)

    return [point for point, price in zip(points, prices, strict=True) if not is_beaten(price)]


def forgetting(comparison: Comparison) -> Figure | None:
    """What each seed learnt against what it lost elsewhere, a panel for each set from elsewhere."""
    found = comparison.forgetting
    if found is None:
        return None
    panels: Panels = {}
    for place, metric in enumerate(found.metrics[1:], start=1):
        points = [
            {"arm": arm, "seed": seed, "gain": -numbers.relative(changes[0]), "loss": numbers.relative(changes[place])}
            for arm, of_seed in found.of_seeds.items()
            for seed, changes in of_seed.items()
        ]
        y = alt.Y("loss:Q", title=f"{metric.phrase}: higher by", axis=alt.Axis(format=f"+{SHARES}", tickCount=6))
        x = alt.X(
            "gain:Q",
            title="Learnt: perplexity lower by",
            axis=alt.Axis(format=SHARES, tickCount=6),
            scale=alt.Scale(zero=False, nice=True),
        )
        tooltip = [
            alt.Tooltip("arm:N", title="Arm"),
            alt.Tooltip("seed:N", title="Seed"),
            alt.Tooltip("gain:Q", title="Learnt", format=".1%"),
            alt.Tooltip("loss:Q", title="Lost", format="+.1%"),
        ]
        zero = alt.Chart(values([{"loss": 0}])).mark_rule(strokeDash=[4, 4], opacity=0.6).encode(y=y)
        seeds = alt.Chart(values(points)).mark_point(filled=True, size=70, opacity=0.75)
        seeds = seeds.encode(x=x, y=y, color=arm_colour(comparison), shape=arm_shape(comparison), tooltip=tooltip)
        panels[metric.title.partition(", ")[2],] = (zero + seeds).properties(height=HEIGHT)
    return Figure("forgetting", "What was learnt against what was lost elsewhere", panels)
