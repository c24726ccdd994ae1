"""From a template to text."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from loralab.report import advice, answer, content, limits, numbers
from loralab.report.conditions import facts


def render(template: str, shown: Mapping[str, object]) -> str:
    """Fill a template of this package. HTML escapes every text; Markdown says which may come from data."""
    environment = Environment(
        loader=PackageLoader("loralab.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": _plain, "cell": _cell}
    return environment.get_template(template).render(
        shown, advice=advice, answer=answer, content=content, facts=facts, limits=limits, numbers=numbers
    )


def _plain(text: str) -> str:
    """Return what Markdown shows as `text`: no markup, and no link, comes of it."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[").splitlines())


def _cell(text: str) -> str:
    """Return what a table's cell shows as `text`."""
    return _plain(text).replace("|", "\\|")
