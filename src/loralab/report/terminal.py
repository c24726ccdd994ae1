"""The answer and its tables in the terminal."""

from __future__ import annotations

from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loralab.comparison import Comparison
from loralab.report import advice, answer, content, limits


def print_answer(comparison: Comparison, console: Console) -> None:
    """Print the tables, the answer in a sentence, the recommendation, what limits it, and failures."""
    print_table(content.answers(comparison), console, figures="right")
    if comparison.measurements:
        console.print()
        print_table(content.bill(comparison), console, figures="right")
    console.print()
    console.print(Text(answer.sentence(comparison), style="bold"))
    for line in advice.recommendation(comparison):
        console.print(Text(line, style="bold"))
    for line in limits.caveats(comparison):
        console.print(Text(line))
    for failure in comparison.failures:
        style = "" if failure.reason == "losing" else "red"  # giving up was asked for
        console.print(Text(f"{failure.trial.id}: {failure.reason}: {failure.message}", style=style))


def print_table(told: content.Table, console: Console, figures: Literal["left", "right"] = "left") -> None:
    """Print a table whose first column names the row; `figures` is where the others align."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, title in enumerate(told.header):
        table.add_column(Text(title), justify="left" if position == 0 else figures)
    for row in told.rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
