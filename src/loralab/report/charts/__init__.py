"""Figures as Altair descriptions: drawn to SVG by vl-convert without a browser, and interactive in the page."""

from __future__ import annotations

from loralab.comparison import Comparison
from loralab.report.charts import answers, bills, courses, labels, tradeoffs
from loralab.report.charts.figure import Figure

__all__ = ["Figure", "figures"]

_MAKERS = (
    answers.differences,
    answers.quality,
    tradeoffs.tradeoff,
    tradeoffs.forgetting,
    courses.curves,
    bills.memory,
    bills.seconds,
    courses.learning_rates,
    labels.confusion,
)


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Return every figure that has something to show, by name."""
    made = (make(comparison) for make in _MAKERS)
    return {figure.name: figure for figure in made if figure is not None}
