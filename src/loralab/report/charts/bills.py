"""What the arms cost, and for what: seconds by phase, memory by cause."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import altair as alt

from loralab.comparison import Comparison
from loralab.report import content, numbers
from loralab.report.charts.figure import Figure, values

ROW = 30  # pixels
PALETTE = ("#8a6fb0", "#72b7b2", "#e0a100", "#4c78a8", "#b0628f", "#9d755d", "#5a9e48", "#808080")


def seconds(comparison: Comparison) -> Figure | None:
    """The seconds of a trial by what they were spent on, a bar an arm."""
    parts = [
        {"arm": arm.name, "part": phase, "value": mean, "told": numbers.duration(mean)}
        for arm in comparison.arms.values()
        if arm.measurements
        for phase in content.PHASES
        if (mean := fmean(getattr(found.seconds, phase) for found in arm.measurements.values()))
    ]
    text = "Seconds of a trial by what they were spent on"
    return _bars(comparison, "time", text, parts, content.PHASES, "Seconds, mean over seeds", 1)


def memory(comparison: Comparison) -> Figure | None:
    """The peak memory of training by what it holds, a bar an arm."""
    parts: list[dict[str, Any]] = [
        {"arm": arm, "part": cause, "value": size, "told": numbers.size(size)}
        for arm, causes in content.causes_of_memory(comparison).items()
        for cause, size in causes.items()
    ]
    largest = max((part["value"] for part in parts), default=0)
    factor, unit = (1e9, "GB") if largest >= 1e9 else (1e6, "MB")
    text = "Peak memory of training by what it holds"
    return _bars(comparison, "memory", text, parts, content.CAUSES, f"{unit}, mean over seeds", factor)


def _bars(
    comparison: Comparison,
    name: str,
    text: str,
    parts: list[dict[str, Any]],
    order: tuple[str, ...],
    title: str,
    factor: float,
) -> Figure | None:
    """Stack the parts of each arm, in the given order."""
    if not parts:
        return None
    points = [part | {"value": part["value"] / factor, "place": order.index(part["part"])} for part in parts]
    shown = [part for part in order if any(point["part"] == part for point in points)]
    colours = [PALETTE[order.index(part) % len(PALETTE)] for part in shown]
    chart = (
        alt.Chart(values(points))
        .mark_bar()
        .encode(
            x=alt.X("value:Q", title=title, axis=alt.Axis(tickCount=6)),
            y=alt.Y("arm:N", title=None, sort=list(comparison.arms)),
            color=alt.Color("part:N", title=None, scale=alt.Scale(domain=shown, range=colours)),
            order="place:Q",
            tooltip=[
                alt.Tooltip("arm:N", title="Arm"),
                alt.Tooltip("part:N", title="Part"),
                alt.Tooltip("told:N", title="Mean"),
            ],
        )
        .properties(height=alt.Step(ROW))
    )
    return Figure(name, text, {(text,): chart})
