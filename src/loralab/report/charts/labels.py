"""What each label was taken for."""

from __future__ import annotations

import altair as alt

from loralab.comparison import Comparison
from loralab.report import content
from loralab.report.charts.figure import Figure, Panels, values

ROOMY = 10  # labels; of more, the cells leave no room for signs of per cent and noughts
ROW = 28  # pixels


def confusion(comparison: Comparison) -> Figure | None:
    """What each label was taken for, in per cent of the label's texts, a panel an arm."""
    matrices = content.confusions(comparison)
    names = comparison.measurements[0].data.label_names if matrices else ()
    if not matrices or len(names) > content.MOST_IN_MATRIX:
        return None
    panels: Panels = {}
    for arm, matrix in matrices.items():
        cells = [
            {"true": names[i], "predicted": names[j], "count": count, **_share(count / max(1, sum(row)), len(names))}
            for i, row in enumerate(matrix)
            for j, count in enumerate(row)
        ]
        base = alt.Chart(values(cells)).encode(
            x=alt.X("predicted:N", title="Predicted", sort=list(names), axis=alt.Axis(labelAngle=-40, labelLimit=90)),
            y=alt.Y("true:N", title="True", sort=list(names), axis=alt.Axis(labelLimit=90)),
            tooltip=[
                alt.Tooltip("true:N", title="True"),
                alt.Tooltip("predicted:N", title="Predicted"),
                alt.Tooltip("count:Q", title="Texts, seeds together"),
                alt.Tooltip("share:Q", title="Of the true label's", format=".1%"),
            ],
        )
        tiles = base.mark_rect().encode(
            color=alt.Color("share:Q", title="Share", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None)
        )
        figures = base.mark_text(fontSize=10 if len(names) <= ROOMY else 8).encode(
            text="told:N",
            color=alt.condition("datum.share > 0.74", alt.value("white"), alt.value("black")),
        )
        panels[arm,] = (tiles + figures).properties(height=alt.Step(ROW))
    return Figure("confusion", "Per cent of each true label's texts, seeds together", panels)


def _share(share: float, labels: int) -> dict[str, float | str]:
    """Return the share and how it is written into its cell."""
    told = f"{100 * share:.0f}"
    return {"share": share, "told": f"{told}%" if labels <= ROOMY else "" if told == "0" else told}
