"""The recipes that ship with loralab: listed, and copied."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loralab import recipes

app = typer.Typer()


@app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context) -> None:
    """List the experiments that ship with loralab, or copy one to edit.

    For example: loralab recipes copy imdb-distilbert --to mine.yaml
    """
    if context.invoked_subcommand is None:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in recipes.names():
            table.add_row(name, escape(recipes.summary(name)))
        Console().print(table)


@app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe's name.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The file to write; else NAME.yaml here.")
    ] = None,
) -> None:
    """Write a recipe to a file of your own, to edit and run.

    For example: loralab recipes copy imdb-distilbert --to mine.yaml
    """
    target = recipes.copy(name, to or Path(f"{name}.yaml"))
    told = f"Written: {target}. Edit it, then: loralab run {quote(str(target))}"
    Console().print(told, markup=False, highlight=False, soft_wrap=True)
