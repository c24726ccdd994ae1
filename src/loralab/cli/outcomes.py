"""Commands that take a results folder: its report, and its models put to use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from loralab import api, use
from loralab.cli.options import ArmOption, RunArgument, SeedOption
from loralab.cli.printing import print_comparison, print_lines, print_page
from loralab.display import Display
from loralab.errors import UserError
from loralab.hub import as_path
from loralab.prediction import LabelProbabilities
from loralab.report import beside, numbers, predicted, print_table
from loralab.report.pdf import write_pdf
from loralab.tasks.saved_lines import loaded_from
from loralab.writing import write_whole

AT_ONCE = 256  # texts that a model is asked before their answers are told


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="A results folder; or several, to compare.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Also write the tables of several as Markdown."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print the page to report.pdf, too, by a browser.")] = False,
) -> None:
    """Write the report again from the stored results, or put several experiments side by side.

    For example: loralab report runs/on-my-laptop runs/on-the-server --to machines.md
    """
    console = Console()
    if len(folders) == 1:
        if to is not None:
            raise UserError("--to is for several results folders; the report of one is written into its folder")
        comparison = api.load(folders[0])
        print_comparison(comparison, console)  # first: it is seen where the folder takes no files, too
        page = api.rewrite(comparison, folders[0])
        print_page(page, console)
        if pdf:
            printed = write_pdf(page)
            console.print(f"Printed: {printed}", markup=False, highlight=False, soft_wrap=True)
        return
    if pdf:
        raise UserError("--pdf is for the report of one results folder")
    runs = api.beside(folders)
    print_table(beside.outcomes(runs), console, figures="right")
    console.print()
    print_lines(beside.meaning(runs), console)
    if (differing := beside.differing(runs)).rows:
        console.print()
        print_table(differing, console)
    if to is not None:
        write_whole(as_path(to), beside.document(runs))  # a shell leaves the ~ of --to=~/machines.md alone
        console.print(f"\nWritten: {to}", markup=False, highlight=False)


def predict(
    folder: RunArgument,
    arm: ArmOption,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; or -: standard input, one a line.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="A text file, one text a line, or a table with a column of texts."),
    ] = None,
    seed: SeedOption = None,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="The most tokens that a language model adds.")
    ] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines, with every label, as for files and standard input.")
    ] = False,
) -> None:
    """Put texts to a saved model: label probabilities, or a language model's continuation.

    For example: loralab predict runs/imdb-distilbert --arm lora-r8 "A film to remember."
    """
    if (file is None) == (not texts):
        raise UserError("give either texts, or -, or --file")
    asked: Sequence[str | tuple[str, str]] = texts or []
    if texts == ["-"]:
        asked = use.asked_lines(folder, typer.get_text_stream("stdin", "utf-8", "replace").read())
    elif file is not None:
        asked = use.read_asked(folder, file)
    console, as_json = Console(), as_json or file is not None or texts == ["-"]
    model = use.open_model(folder, arm, seed, watcher=Display(Console(stderr=True)))
    batches = (asked[first : first + AT_ONCE] for first in range(0, len(asked), AT_ONCE))
    for found in (one for batch in batches for one in model.ask(batch, tokens)):
        if as_json:
            typer.echo(json.dumps(asdict(found)))
        else:
            console.print(Text(predicted.text(found)), soft_wrap=True)
            if isinstance(found, LabelProbabilities):
                print_table(predicted.labels(found), console, figures="right")


def export(
    folder: RunArgument,
    arm: ArmOption,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The new folder.")],
    seed: SeedOption = None,
    merge: Annotated[bool, typer.Option("--merge", help="Make one whole model of an adapter.")] = False,
) -> None:
    """Write a model into a new folder, with a model card; --merge makes an adapter one whole model.

    For example: loralab export runs/imdb-distilbert --arm lora-r8 --to imdb-model --merge
    """
    exported = use.export(folder, arm, to, seed, merge=merge, watcher=Display(Console(stderr=True)))
    console = Console()
    console.print(f"Written: {to}, {numbers.size(exported.bytes)}. It is loaded by", markup=False, highlight=False)
    console.print(Text(loaded_from(exported.loading, exported.folder, str(to))), soft_wrap=True)
    if exported.base is not None:
        needs = f"It is an adapter, and needs its model, which it looks for at {exported.base}; --merge makes it whole."
        console.print(needs, markup=False, highlight=False, soft_wrap=True)


def playground(
    folder: RunArgument,
    seed: SeedOption = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="The page's port; else a free one.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Whether a browser is opened with the page.")] = True,
) -> None:
    """Open a local page on which a text is put to the arms side by side.

    For example: loralab playground runs/imdb-distilbert
    """
    try:
        from loralab import playground as page
    except ImportError as error:
        raise UserError(f"playground: {error}; pip install 'loralab[playground]' brings it") from None
    page.launch(folder, seed, port, Display(Console(stderr=True)), typer.echo, opens_browser=browser)
