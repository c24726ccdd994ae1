"""The answer and its table in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loralab.comparison import Comparison
from loralab.report import answer, content


def print_answer(comparison: Comparison, console: Console) -> None:
    """Print the table, the answer in a sentence, what it does not claim, and failures."""
    overview = content.overview(comparison)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, title in enumerate(overview.header):
        table.add_column(title, justify="left" if position == 0 else "right")
    for row in overview.rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    console.print()
    console.print(Text(answer.sentence(comparison), style="bold"))
    for line in answer.caveats(comparison):
        console.print(Text(line))
    for failure in comparison.failures:
        console.print(Text(f"{failure.trial.id} failed: {failure.reason}: {failure.message}", style="red"))
