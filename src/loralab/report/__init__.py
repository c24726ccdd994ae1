"""From a Comparison to a table in the terminal, a Markdown file and a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.comparison import Comparison
from loralab.folder import write_whole
from loralab.report import advice, answer, charts, content, limits
from loralab.report.conditions import facts
from loralab.report.terminal import print_answer, print_table

__all__ = ["print_answer", "print_table", "write_report"]


def write_report(comparison: Comparison, folder: Path) -> Path:
    """Write `report.html`, `report.md` and `charts/*.svg` into `folder`; return the page's path.

    Raises UserError where they can't be written.
    """
    drawn = charts.draw(comparison)
    for name, svg in drawn.items():
        write_whole(folder / "charts" / f"{name}.svg", svg)
    write_whole(folder / "report.md", _render("report.md.j2", comparison, drawn))
    page = folder / "report.html"
    write_whole(page, _render("report.html.j2", comparison, drawn))
    return page


def _render(template: str, comparison: Comparison, drawn: Mapping[str, str]) -> str:
    # HTML escapes every text; Markdown has cells of its own to protect.
    environment = Environment(
        loader=PackageLoader("loralab.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    return environment.get_template(template).render(
        comparison=comparison,
        advice=advice,
        answer=answer,
        content=content,
        facts=facts,
        limits=limits,
        # The SVG is drawn by vl-convert, which escapes the texts in it.
        charts={name: Markup(svg) for name, svg in drawn.items()},
    )
