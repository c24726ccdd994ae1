"""What several commands print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from loralab import api
from loralab.comparison import Comparison
from loralab.display import Display
from loralab.experiment import Experiment
from loralab.report import planned, print_answer, print_table


def print_forecast(experiment: Experiment, console: Console) -> None:
    """Print what the experiment will take, from a few real steps of every arm."""
    console.print("\nTaking a few steps of every arm...")
    with Display(console) as display:
        found = api.forecast(experiment, display)
    print_table(planned.forecast(found), console)
    console.print(f"\n{planned.in_all(found)}\n", highlight=False)
    print_lines(planned.failed(found), console)


def print_lines(lines: Sequence[str], console: Console) -> None:
    """Print text as it is, a line each."""
    for line in lines:
        console.print(Text(line))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the answer, apart from what stands before it."""
    console.print()
    print_answer(comparison, console)


def print_page(page: Path, console: Console) -> None:
    """Print where the report is."""
    console.print(f"\nThe report: {page}", markup=False, highlight=False, soft_wrap=True)
