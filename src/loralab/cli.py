"""The command line: it parses, calls the API and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from dotenv import find_dotenv, load_dotenv
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loralab import api, pretrained, recipes, schema, trackers
from loralab.comparison import Comparison
from loralab.display import Display
from loralab.errors import UserError
from loralab.experiment import Experiment
from loralab.files import read_experiment, read_value
from loralab.folder import write_whole
from loralab.places import ProcessEndedError
from loralab.prediction import LabelProbabilities
from loralab.report import beside, numbers, planned, predicted, print_answer, print_table
from loralab.report.pdf import write_pdf
from loralab.statistics import power

app = typer.Typer(
    help="Compare full fine-tuning with LoRA on your model, data and machine: tuned alike, over several seeds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

recipes_app = typer.Typer()
app.add_typer(recipes_app, name="recipes")


def _complete_experiment(begun: str) -> list[str]:
    """Complete a recipe's name, or a file's."""
    files = [str(file) for ending in ("yaml", "yml") for file in Path().glob(f"{begun}*.{ending}")]
    return [name for name in [*recipes.names(), *files] if name.startswith(begun)]


def _complete_arm(context: typer.Context, begun: str) -> list[str]:
    """Complete an arm of the results folder that stands before."""
    there = [*filter(None, [context.params.get("folder")]), *context.args]  # what a shell has typed is not parsed yet
    with suppress(UserError, IndexError):
        return [name for name in api.load(there[0]).experiment.arms if name.startswith(begun)]
    return []


ExperimentName = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT", help="An experiment file, or a recipe's name.", autocompletion=_complete_experiment
    ),
]
ArmOption = Annotated[
    str, typer.Option("--arm", metavar="NAME", help="The arm whose model it is.", autocompletion=_complete_arm)
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Another model: a folder or a hub id.")]
DataOption = Annotated[str | None, typer.Option("--data", help="Other data: a file, a folder or a hub id.")]
RowsOption = Annotated[str | None, typer.Option("--rows", metavar="train=N,...", help="Rows to use of each split.")]
SeedsOption = Annotated[str | None, typer.Option("--seeds", metavar="N|auto", help="How many; auto: as it takes.")]
ArmsOption = Annotated[str | None, typer.Option("--arms", metavar="NAME,...", help="Only these arms.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PLACE=VALUE", help="Any setting, such as conditions.epochs=2.")
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help=f"Where curves go: {', '.join(trackers.NAMES)} or none; may be given twice. Else tensorboard.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A results folder.")]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The results folder; else runs/NAME.")]


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


@app.command()
def quickstart(out: OutOption = None, track: TrackOption = None) -> None:
    """Run the embedded experiment: real weights, real text, no download, some minutes on two cores."""
    _run(read_experiment("quickstart"), out or Path("runs/quickstart"), track)


@app.command()
def init(
    data: Annotated[str, typer.Option("--data", help="A file, a folder or a hub id.")],
    model: ModelOption = None,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Where to.")] = Path("experiment.yaml"),
) -> None:
    """Write a commented experiment file for your model and data, and say what was guessed.

    For example: loralab init --data reviews.csv --model distilbert/distilbert-base-uncased
    """
    drafted = api.draft(data, model)
    recipes.write_new(to, drafted.text)
    console = Console()
    for guess in drafted.guesses:
        console.print(Text(f"Guessed: {guess}"), soft_wrap=True)
    console.print(f"Written: {to}. Look it over, then: loralab plan {to}", markup=False, highlight=False)


@app.command()
def run(
    experiment: ExperimentName,
    model: ModelOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    arms: ArmsOption = None,
    changes: SetOption = None,
    out: OutOption = None,
    track: TrackOption = None,
) -> None:
    """Carry out what is missing of an experiment, and answer.

    For example: loralab run imdb-distilbert --model ./my-model --data ./my-data --rows train=2000,test=1000 --seeds 3
    """
    read = _read(experiment, model, data, rows, seeds, arms, changes)
    _run(read, out or Path("runs") / Path(experiment).stem, track)


@app.command()
def plan(
    experiment: ExperimentName,
    model: ModelOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    arms: ArmsOption = None,
    changes: SetOption = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Take a few real steps of every arm and forecast time and memory.")
    ] = False,
    disagreement: Annotated[
        float,
        typer.Option(min=0.001, max=1, help="Share of test texts that two arms are assumed to judge differently."),
    ] = power.DISAGREEMENT,
) -> None:
    """Tell what an experiment would do and take, and what it could decide, without carrying it out."""
    read = _read(experiment, model, data, rows, seeds, arms, changes)
    console = Console()
    on_hub = pretrained.is_on_hub(read.conditions.model) or read.conditions.task.is_on_hub()
    found = api.check(read) if measure or not on_hub else None  # without measuring, a plan downloads nothing
    counted = None if measure or on_hub else api.inspect(read)  # mistakes come before a long table
    print_table(planned.trials(read), console)
    console.print(f"\n{planned.how_many(read)}", highlight=False)
    test_rows = read.conditions.task.data.rows.test if found is None else len(found.test)
    if test_rows is not None:
        _print_lines(planned.decidable(read, test_rows, disagreement), console)
    if measure:
        _print_forecast(read, console)
    elif counted is None:
        console.print("\nWhat each arm trains is not known before a download; --measure fetches model and data.")
    else:
        console.print()
        print_table(planned.parameters(counted), console)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="A results folder; or several, to compare.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write what several come to as Markdown, too.")
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
        _print_comparison(api.report(folders[0]), folders[0], console)
        if pdf:
            printed = write_pdf(folders[0] / "report.html")
            console.print(f"Printed: {printed}", markup=False, highlight=False, soft_wrap=True)
        return
    if pdf:
        raise UserError("--pdf is for the report of one results folder")
    runs = api.beside(folders)
    print_table(beside.outcomes(runs), console, figures="right")
    console.print()
    _print_lines(beside.meaning(runs), console)
    if (differing := beside.differing(runs)).rows:
        console.print()
        print_table(differing, console)
    if to is not None:
        write_whole(to, beside.document(runs))
        console.print(f"\nWritten: {to}", markup=False, highlight=False)


@app.command()
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
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of which seed; else its first.")] = None,
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
        asked = [line.removesuffix("\n") for line in typer.get_text_stream("stdin", "utf-8", "replace")]
    elif file is not None:
        asked = api.read_asked(folder, file)
    console, as_json = Console(), as_json or file is not None or texts == ["-"]
    for found in api.predict(folder, arm, asked, seed, tokens, watcher=Display(Console(stderr=True))):
        if as_json:
            typer.echo(json.dumps(asdict(found)))
        else:
            console.print(Text(predicted.text(found)), soft_wrap=True)
            if isinstance(found, LabelProbabilities):
                print_table(predicted.labels(found), console, figures="right")


@app.command()
def export(
    folder: RunArgument,
    arm: ArmOption,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The new folder.")],
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Of which seed; else its first.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Make an adapter part of a whole model.")] = False,
) -> None:
    """Write a model into a folder that transformers loads alone, with a model card.

    For example: loralab export runs/imdb-distilbert --arm lora-r8 --to imdb-model --merge
    """
    exported = api.export(folder, arm, to, seed, merge=merge, watcher=Display(Console(stderr=True)))
    console = Console()
    console.print(f"Written: {to}, {numbers.size(exported.bytes)}. It is loaded by", markup=False, highlight=False)
    console.print(Text(exported.loading), soft_wrap=True)


@app.command()
def playground(
    folder: RunArgument,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of which seed; else each arm's first.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="N", help="Of this machine; else a free one.")] = None,
) -> None:
    """Open a local page on which a text is put to the arms side by side.

    For example: loralab playground runs/imdb-distilbert
    """
    try:
        from loralab import playground as page
    except ImportError as error:
        raise UserError(f"playground: {error}; pip install 'loralab[playground]' brings it") from None
    page.launch(folder, seed, port, Display(Console(stderr=True)))


@app.command("schema")
def print_schema(
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it there instead.")] = None,
) -> None:
    """Print the JSON Schema of experiment files, by which editors complete and check them."""
    text = json.dumps(schema.json_schema(), indent=2)
    if to is None:
        typer.echo(text)
        return
    write_whole(to, text + "\n")
    line = f"# yaml-language-server: $schema={to}"
    Console().print(f"Written: {to}. As the first line of an experiment file: {line}", markup=False, highlight=False)


@recipes_app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context) -> None:
    """List the experiments that ship with loralab, or copy one to edit."""
    if context.invoked_subcommand is None:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in recipes.names():
            table.add_row(name, escape(recipes.summary(name)))
        Console().print(table)


@recipes_app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe's name.")],
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where to; else NAME.yaml here.")] = None,
) -> None:
    """Write a recipe to a file of your own, to edit and run."""
    target = recipes.copy(name, to or Path(f"{name}.yaml"))
    Console().print(f"Written: {target}. Edit it, then: loralab run {target}", markup=False, highlight=False)


def main() -> None:
    """Run the command line. A mistake the user can put right is one message and exit status 2.

    Variables of a file `.env` here or above, such as HF_TOKEN or HF_HOME, hold where the environment lacks them.
    """
    load_dotenv(find_dotenv(usecwd=True))
    try:
        app()
    except UserError as error:
        _print_error(error)
        sys.exit(2)
    except ProcessEndedError as error:
        _print_error(error)
        sys.exit(1)


def _print_error(error: Exception) -> None:
    Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)


def _run(experiment: Experiment, out: Path, track: list[str] | None) -> None:
    console = Console()
    console.print(f"{planned.how_many(experiment)}, results in {out}", markup=False, highlight=False)
    try:
        if not (out / "experiment.json").exists() and _is_long(experiment):
            _print_forecast(experiment, console)
        with Display(console) as display:
            comparison = api.run(experiment, out, watcher=display, trackers=_trackers(track))
    except KeyboardInterrupt:
        finished = any((out / "trials").glob("*.json"))
        kept = (
            f"What is finished is kept in {out}, and 'loralab report {out}' shows it"
            if finished
            else "Nothing had finished yet"
        )
        console.print(f"Stopped. {kept}; the same command goes on from there.", markup=False)
        raise SystemExit(130) from None
    _print_comparison(comparison, out, console)
    if any(not failure.is_answer for failure in comparison.failures):
        raise SystemExit(1)


def _trackers(asked: list[str] | None) -> list[str]:
    return ["tensorboard"] if asked is None else [name for name in asked if name != "none"]


def _is_long(experiment: Experiment) -> bool:
    return planned.is_long(experiment, experiment.conditions.task.count_examples(api.check(experiment)))


def _print_forecast(experiment: Experiment, console: Console) -> None:
    console.print("\nTaking a few steps of every arm...")
    with Display(console) as display:
        found = api.forecast(experiment, display)
    print_table(planned.forecast(found), console)
    console.print(f"\n{planned.in_all(found)}\n", highlight=False)
    _print_lines(planned.failed(found), console)


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(Text(line))


def _print_comparison(comparison: Comparison, folder: Path, console: Console) -> None:
    console.print()
    print_answer(comparison, console)
    console.print(f"\nThe report: {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _read(
    experiment: str,
    model: str | None,
    data: str | None,
    rows: str | None,
    seeds: str | None,
    arms: str | None,
    changes: list[str] | None,
) -> Experiment:
    places: dict[str, Any] = {}
    if model is not None:
        places["conditions.model"] = model
    if data is not None:
        places["conditions.task.data.source"] = data
        places["conditions.task.data.configuration"] = None  # it was that of the other data
    for split, count in _pairs(rows.split(",") if rows else [], "--rows", "train=N,test=N"):
        places[f"conditions.task.data.rows.{split}"] = count
    if seeds is not None:
        places["seeds"] = read_value(seeds, "--seeds")
    for place, value in _pairs(changes or [], "--set", "PLACE=VALUE"):
        places[place] = value
    return read_experiment(experiment, places, arms.split(",") if arms else ())


def _pairs(texts: list[str], option: str, form: str) -> list[tuple[str, Any]]:
    """Read 'name=value' texts; a value is read as in an experiment file."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{option} {text}: write {option} {form}")
        pairs.append((name.strip(), read_value(value, f"{option} {text}")))
    return pairs
