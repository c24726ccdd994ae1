"""A comparison in a notebook: the answer, its picture, and the two tables of the first screen."""

from __future__ import annotations

from html import escape

from loralab.comparison import Comparison
from loralab.report.answer import sentence
from loralab.report.charts import answers
from loralab.report.conditions import scale, subject
from loralab.report.content import Table, bill
from loralab.report.content import answers as answer_table
from loralab.report.limits import faults, reservations


def html(comparison: Comparison) -> str:
    """Return what a notebook shows of a comparison. Every text is escaped."""
    figure = answers.differences(comparison)
    parts = [
        f"<p>{escape(subject(comparison))}: {escape(scale(comparison))}</p>",
        f"<p><strong>{escape(sentence(comparison))}</strong></p>",
        figure.svg() if figure else "",
        _table(answer_table(comparison)),
        _table(bill(comparison)) if comparison.measurements else "",
        *(f"<p><strong>{escape(line)}</strong></p>" for line in faults(comparison)),
        *(f"<p>{escape(line)}</p>" for line in reservations(comparison)),
    ]
    return "\n".join(parts)


def _table(found: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in found.header)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in found.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
