"""What a figure is, and its two forms: a still picture, and charts that answer the reader in the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from loralab.comparison import Comparison
from loralab.data.texts import printable
from loralab.tasks.metrics import Metric

Chart = Any  # Altair's charts have no common public type
Panels = dict[tuple[str, ...], Chart]  # by their titles

WIDTH, HEIGHT = 300, 200
COLOURS = (
    "#3b76c4",
    "#d2703a",
    "#5a9e48",
    "#b04f94",
    "#9a8a00",
    "#0a93a3",
    "#b5504f",
    "#808080",
    "#6a5acd",
    "#3c8c77",
    "#c77c9d",
    "#96653b",
)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
SHARES = ".2~%"  # as many decimals as it takes: 90.2 % and 90.4 %, but 90 % and 100 %
DASHES = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [4, 4])  # drawn and left out, in pixels
INK = "currentColor"  # of the text around the chart: dark on light, light on dark, black on paper
FONT = "Helvetica, Arial, sans-serif"
STILL_COLUMNS = 2
FAR_APART = 20  # from this ratio of the largest value to the smallest on, an axis is logarithmic


@dataclass(frozen=True)
class Figure:
    """One chart, or several beside each other.

    Where there are `choices`, the page shows one panel, and the reader chooses which: a panel has a title for each
    choice. A still picture then shows the first `still` of them.
    """

    name: str
    text: str  # what is seen, for those who can't see it
    panels: Panels  # without width
    choices: tuple[str, ...] = ()
    still: int | None = None  # None: all

    def svg(self) -> str:
        """Draw it without a browser, on white, so that it can stand anywhere."""
        import vl_convert

        panels = [
            chart.properties(width=WIDTH if len(self.panels) > 1 else 2 * WIDTH, title=", ".join(titles))
            for titles, chart in list(self.panels.items())[: self.still]
        ]
        whole = alt.concat(*panels, columns=STILL_COLUMNS).resolve_scale(color="shared") if panels[1:] else panels[0]
        styled = whole.configure(font=FONT, background="white").configure_view(strokeOpacity=0.2)
        styled = styled.configure_axisY(labelLimit=400)  # no pointer tells the rest of a name here
        return str(vl_convert.vegalite_to_svg(_printable(styled.to_dict())))

    def for_page(self) -> dict[str, Any]:
        """Describe it for `page.js`: as wide as there is room, in the page's own colours."""
        plain = alt.Config(
            font=FONT,
            background="transparent",
            view=alt.ViewConfig(stroke=INK, strokeOpacity=0.2),
            axis=alt.AxisConfig(
                labelColor=INK,
                titleColor=INK,
                gridColor=INK,
                domainColor=INK,
                tickColor=INK,
                gridOpacity=0.12,
                labelFontSize=12,
                titleFontSize=12,
            ),
            legend=alt.LegendConfig(
                labelColor=INK,
                titleColor=INK,
                labelFontSize=12,
                titleFontSize=12,
                orient="bottom",
                columns=alt.ExprRef("max(1, floor(width / 166))"),  # as many as there is room for
                labelLimit=140,
                symbolBaseFillColor=INK,  # of a key to shapes, else black
                symbolBaseStrokeColor=INK,
            ),
            axisY=alt.AxisConfig(labelLimit=150),
            text=alt.MarkConfig(color=INK),
            rule=alt.MarkConfig(color=INK),
        )
        return {
            "choices": self.choices,
            "panels": [
                {"titles": titles, "spec": _printable(chart.properties(width="container", config=plain).to_dict())}
                for titles, chart in self.panels.items()
            ],
        }


def _printable(part: Any) -> Any:
    """Return a description in which no label or name holds what an SVG may not: drawing it would end the process."""
    if isinstance(part, str):
        return printable(part)
    if isinstance(part, dict):
        return {name: _printable(value) for name, value in part.items()}
    return [_printable(one) for one in part] if isinstance(part, list) else part


def values(points: list[dict[str, Any]]) -> alt.InlineData:
    """Put the points into the chart itself. JSON has no infinity, which an exploded loss comes to: it isn't drawn."""
    return alt.InlineData(values=[{name: _drawable(value) for name, value in point.items()} for point in points])


def _drawable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def arm_colour(comparison: Comparison) -> Chart:
    """Give each arm a colour, the same one in all figures; from the thirteenth on they come again."""
    return alt.Color("arm:N", title="Arm", scale=_by_arm(comparison, COLOURS))


def arm_stroke(comparison: Comparison) -> Chart:
    """Draw each arm's outline in its colour, so that a hollow mark can be seen."""
    colour = arm_colour(comparison)
    return alt.Stroke("arm:N", scale=colour["scale"], legend=None)


def arm_shape(comparison: Comparison) -> Chart:
    """Give each arm a shape besides, for those who don't tell the colours apart."""
    return alt.Shape("arm:N", title="Arm", scale=_by_arm(comparison, SHAPES))


def arm_dash(comparison: Comparison) -> Chart:
    """Give each arm's line a pattern, likewise."""
    key = alt.Legend(symbolType="stroke", symbolStrokeWidth=2)
    return alt.StrokeDash("arm:N", title="Arm", scale=_by_arm(comparison, DASHES), legend=key)


def _by_arm(comparison: Comparison, marks: Sequence[Any]) -> alt.Scale:
    """Give each arm one of the marks, in their order; where there are more arms, they come again."""
    arms = list(comparison.arms)
    return alt.Scale(domain=arms, range=[marks[position % len(marks)] for position in range(len(arms))])


def score_scale(metric: Metric, scores: Sequence[float], **options: Any) -> alt.Scale:
    """Scale an axis of scores: by ratios where one perplexity of thousands would leave all others on one line."""
    finite = [score for score in scores if math.isfinite(score)]
    far_apart = metric.scale == "log" and finite and max(finite) / min(finite) > FAR_APART
    return alt.Scale(type="log", **options) if far_apart else alt.Scale(zero=False, **options)


def score_axis(metric: Metric, **options: Any) -> alt.Axis:
    """Label an axis in the metric's own form."""
    return alt.Axis(format=SHARES, **options) if metric.scale == "share" else alt.Axis(**options)
