"""From a template to text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from loralab.report import advice, answer, conditions, content, limits, numbers


def render(template: str, shown: Mapping[str, object]) -> str:
    """Fill a template of this package. HTML escapes every text; Markdown says which may come from data."""
    environment = Environment(
        loader=PackageLoader("loralab.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = _plain
    return environment.get_template(template).render(
        shown,
        advice=advice,
        answer=answer,
        conditions=conditions,
        content=content,
        limits=limits,
        numbers=numbers,
    )


def _plain(text: str) -> str:
    """Return what Markdown shows as `text`: no markup comes of it, and no link under other words than its own."""
    escaped = re.sub(r"([\\`*_\[\]~|$])", r"\\\1", text)
    return " ".join(escaped.replace("&", "&amp;").replace("<", "&lt;").splitlines())
