"""The command line: it parses, calls the API and prints."""

from __future__ import annotations

import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer
from dotenv import find_dotenv, load_dotenv
from rich.console import Console

from loralab.cli import experiments, outcomes, shelf
from loralab.errors import UserError
from loralab.places import ProcessEndedError

app = typer.Typer(
    help="Compare full fine-tuning with LoRA on your model, data and machine: tuned alike, over several seeds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    experiments.quickstart,
    experiments.init,
    experiments.run,
    experiments.plan,
    outcomes.report,
    outcomes.predict,
    outcomes.export,
    outcomes.playground,
    experiments.schema,
):
    app.command()(command)
app.add_typer(shelf.app, name="recipes")


def _print_version(asked: bool) -> None:
    if asked:
        print(version("loralab"))
        raise typer.Exit


@app.callback()
def options(
    shown: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compare full fine-tuning with LoRA on your model, data and machine: tuned alike, over several seeds."""


def main() -> None:
    """Run the command line. A mistake the user can put right is one message and exit status 2.

    Variables of a file `.env` here or above, such as HF_TOKEN or HF_HOME, hold where the environment lacks them.
    """
    file = find_dotenv(usecwd=True)
    try:
        load_dotenv(file)
    except (OSError, ValueError) as error:  # it may be another project's, in another encoding, or another user's
        _print_error(f"{file} can't be read, and is left out: {error}")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file that Windows opens in its own code page has no minus sign
            stream.reconfigure(errors="replace")
    try:
        app()
    except UserError as error:
        _print_error(error)
        sys.exit(2)
    except PermissionError as error:
        _print_error(
            f"{error.filename}: {error.strerror}; you may not read or write it: name another, or ask its owner"
        )
        sys.exit(2)
    except ProcessEndedError as error:
        _print_error(error)
        sys.exit(1)


def _print_error(error: Exception | str) -> None:
    Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
