"""The answer as pictures: each arm's difference from the baseline, and every seed's score."""

from __future__ import annotations

from typing import Any

import altair as alt

from loralab.comparison import Comparison
from loralab.report import content, numbers
from loralab.report.charts.figure import Figure, arm_colour, score_axis, score_scale, values
from loralab.statistics.decisions import MarginAnswer
from loralab.tasks.metrics import Metric

ROW = 34  # pixels
UNSEEN = 50  # times the margin: beside a difference of more, the margin would be a line
DECISIONS = {
    MarginAnswer.EQUIVALENT: "#2f8f4e",
    MarginAnswer.NON_INFERIOR: "#3f7fc2",
    MarginAnswer.INFERIOR: "#c2483f",
    MarginAnswer.UNDECIDED: "#8a8a8a",
}


def differences(comparison: Comparison) -> Figure | None:
    """Each arm's difference from the baseline with its interval; within the shade it is less than the margin."""
    metric, margin = content.primary(comparison), comparison.experiment.primary_margin
    rows: list[dict[str, Any]] = []
    for name, verdict in comparison.verdicts.items():
        found = comparison.arms[name].differences[metric.name]
        low, high = found.interval()
        rows.append(
            {
                "arm": name,
                "difference": shown(found.value, metric),
                "low": shown(low, metric),
                "high": shown(high, metric),
                "told": numbers.differences(found.value, (low, high), metric),
                "direction": verdict.direction.value,
                "answer": verdict.margin_answer.value,
            }
        )
    if not rows:
        return None
    reach = shown(margin, metric)
    unit = {"share": "points", "log": "%", "plain": ""}[metric.scale]
    better = "right" if metric.higher_is_better else "left"
    title = [f"{metric.title} vs {comparison.baseline.name}", f"{f'{unit}, ' if unit else ''}95 %; {better} is better"]
    scale = alt.Scale(zero=True, padding=10)
    if metric.scale == "log" and max(abs(row[end]) for row in rows for end in ("low", "high")) > UNSEEN * reach:
        scale = alt.Scale(type="symlog", constant=reach, padding=10)  # else one arm leaves the others on one line
    x = alt.X("low:Q", title=title, scale=scale, axis=alt.Axis(tickCount=8))
    y = alt.Y("arm:N", title=None, sort=list(comparison.arms))
    shade = (
        alt.Chart(values([{"low": shown(-margin, metric), "high": reach}]))
        .mark_rect(color="#e0a100", opacity=0.16)
        .encode(x=x, x2="high:Q")
    )
    zero = alt.Chart(values([{"low": 0}])).mark_rule(opacity=0.7).encode(x=x)
    colour = alt.Color(
        "answer:N",
        title=f"Margin of {numbers.margin(margin, metric)}",
        scale=alt.Scale(domain=[one.value for one in DECISIONS], range=list(DECISIONS.values())),
        legend=alt.Legend(values=sorted({row["answer"] for row in rows})),
    )
    tooltip = [
        alt.Tooltip("arm:N", title="Arm"),
        alt.Tooltip("told:N", title="Difference"),
        alt.Tooltip("direction:N", title="Direction"),
        alt.Tooltip("answer:N", title="Margin"),
    ]
    base = alt.Chart(values(rows)).encode(y=y, color=colour, tooltip=tooltip)
    intervals = base.mark_rule(strokeWidth=3).encode(x=x, x2="high:Q")
    points = base.mark_point(filled=True, size=110, opacity=1).encode(x=alt.X("difference:Q", title=title))
    chart = (shade + zero + intervals + points).properties(height=alt.Step(ROW))
    text = f"Each arm's difference from {comparison.baseline.name} with its 95 % interval; the margin is shaded"
    return Figure("differences", text, {("Difference from the baseline; the margin is shaded",): chart})


def shown(value: float, metric: Metric) -> float:
    """Return a difference as it is shown: in points, or of a logarithm as a change in per cent."""
    return 100 * numbers.relative(value) if metric.scale == "log" else 100 * value if metric.scale == "share" else value


def quality(comparison: Comparison) -> Figure | None:
    """Every seed's final score, a row an arm."""
    metric = content.primary(comparison)
    points: list[dict[str, Any]] = [
        {"arm": arm.name, "seed": seed, "score": as_shown(value, metric), "told": numbers.score(value, metric)}
        for arm in comparison.arms.values()
        for seed, value in (arm.scores[metric.name].values.items() if metric.name in arm.scores else ())
    ]
    if not points:
        return None
    base = alt.Chart(values(points)).encode(
        x=alt.X(
            "score:Q",
            title=content.titled_on_test(metric),
            axis=score_axis(metric),
            scale=score_scale(metric, [point["score"] for point in points], nice=True),
        ),
        y=alt.Y("arm:N", title=None, sort=list(comparison.arms)),
        color=arm_colour(comparison).legend(None),
    )
    tooltip = [
        alt.Tooltip("arm:N", title="Arm"),
        alt.Tooltip("seed:N", title="Seed"),
        alt.Tooltip("told:N", title=metric.title),
    ]
    seeds = base.mark_circle(size=60, opacity=0.7).encode(tooltip=tooltip)
    # As the tables have it: a perplexity's is the geometric one.
    middle = [
        {"arm": arm.name, "score": as_shown(arm.scores[metric.name].mean, metric)}
        for arm in comparison.arms.values()
        if metric.name in arm.scores
    ]
    means = base.mark_tick(thickness=2, size=18).properties(data=values(middle))
    chart = (seeds + means).properties(height=alt.Step(ROW))
    return Figure("quality", "Each seed's score", {("Each seed's score; the bar is the mean",): chart})


def as_shown(value: float, metric: Metric) -> float:
    """Return a score as it is shown: of a logarithm, what it is of."""
    return numbers.power(value) if metric.scale == "log" else value
