"""From a Comparison to a table in the terminal, a Markdown file and a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup

from loralab.comparison import Comparison
from loralab.data.rows import Text
from loralab.disagreement import disputed
from loralab.frame import table
from loralab.report.charts import figures
from loralab.report.rendering import render
from loralab.report.terminal import print_answer, print_table
from loralab.writing import whole_file, write_whole

__all__ = ["print_answer", "print_table", "write_report"]


def write_report(comparison: Comparison, folder: Path, texts: Mapping[str, Text]) -> Path:
    """Write the report and the results into `folder`; return the page's path.

    `report.html`, `report.md` with `charts/*.svg`, and `results.csv` and `results.parquet` with a row for each trial.

    `texts`: of test texts by id, of which those are shown on which the arms disagree. Raises UserError where nothing
    can be written.
    """
    made = figures(comparison)
    stills = {name: figure.svg() for name, figure in made.items()}
    for name, svg in stills.items():
        write_whole(folder / "charts" / f"{name}.svg", svg)
    shown = {
        "comparison": comparison,
        "figures": made,
        "stills": {name: Markup(svg) for name, svg in stills.items()},  # vl-convert escapes the texts in them
        "disputed": disputed(comparison),
        "texts": {name: text if isinstance(text, str) else " — ".join(text) for name, text in texts.items()},
        "library": _library(),
    }
    write_whole(folder / "report.md", render("report.md.j2", shown))
    _write_results(comparison, folder)
    page = folder / "report.html"
    write_whole(page, render("report.html.j2", shown))
    return page


def _write_results(comparison: Comparison, folder: Path) -> None:
    from pyarrow import csv, parquet  # not needed where nothing is written, as by `plan`

    rows = table(comparison.results.values())
    written = {"results.csv": csv.write_csv, "results.parquet": parquet.write_table}
    for name, write in written.items():
        with whole_file(folder / name) as draft:
            write(rows, draft)


@cache
def _library() -> Markup:
    """Return Vega, Vega-Lite and their embedding for a page, shut off so that it only leaves `vegaEmbed` behind."""
    import vl_convert

    # A release's own code, no user's text. Its type stub (1.9) takes the snippet for obligatory, which may be left out.
    return Markup(f"(() => {{{vl_convert.javascript_bundle()}}})();")  # type: ignore[call-arg]
