"""The command line: it parses, calls the API and prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loralab import api, recipes
from loralab.comparison import Comparison
from loralab.display import Display
from loralab.errors import UserError
from loralab.experiment import Experiment
from loralab.files import read_experiment
from loralab.plan import Choice, count_trials, final_trials, tuning_trials
from loralab.report import print_answer
from loralab.report.numbers import rate

app = typer.Typer(
    help="Compare full fine-tuning with LoRA on your model, data and machine: tuned alike, over several seeds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ExperimentName = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="An experiment file, or a recipe's name.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Another model: a folder or a hub id.")]
DataOption = Annotated[str | None, typer.Option("--data", help="Other data: a file, a folder or a hub id.")]
RowsOption = Annotated[str | None, typer.Option("--rows", metavar="train=N,...", help="Rows to use of each split.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds.")]
ArmsOption = Annotated[str | None, typer.Option("--arms", metavar="NAME,...", help="Only these arms.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PLACE=VALUE", help="Any setting, such as conditions.epochs=2.")
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The results folder; else runs/NAME.")]


@app.command()
def quickstart(out: OutOption = None) -> None:
    """Run the embedded experiment: real weights, real text, no download, some minutes on two cores."""
    _run(read_experiment("quickstart"), out or Path("runs/quickstart"))


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
) -> None:
    """Carry out what is missing of an experiment, and answer.

    For example: loralab run imdb-distilbert --model ./my-model --data ./my-data --rows train=2000,test=1000 --seeds 3
    """
    read = _read(experiment, model, data, rows, seeds, arms, changes)
    _run(read, out or Path("runs") / Path(experiment).stem)


@app.command()
def plan(
    experiment: ExperimentName,
    model: ModelOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    arms: ArmsOption = None,
    changes: SetOption = None,
) -> None:
    """Print the trials of an experiment without carrying them out."""
    read = _read(experiment, model, data, rows, seeds, arms, changes)
    api.check(read, on_hub=False)  # a plan needs no download
    _print_plan(read, Console())


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A results folder.")]) -> None:
    """Write the report again from the stored results."""
    _print_comparison(api.report(folder), folder, Console())


@app.command("recipes")
def list_recipes() -> None:
    """List the experiments that ship with loralab."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in recipes.names():
        table.add_row(name, escape(recipes.summary(name)))
    Console().print(table)


def main() -> None:
    """Run the command line. A mistake the user can put right is one message and exit status 2."""
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def _run(experiment: Experiment, out: Path) -> None:
    console = Console()
    least, most = count_trials(experiment)
    console.print(f"{least} to {most} trials, results in {out}", markup=False, highlight=False)
    try:
        with Display(console) as display:
            comparison = api.run(experiment, out, watcher=display)
    except KeyboardInterrupt:
        console.print(f"Stopped. What is finished is kept in {out}; the same command goes on from there.", markup=False)
        raise SystemExit(130) from None
    _print_comparison(comparison, out, console)
    if any(not failure.is_answer for failure in comparison.failures):
        raise SystemExit(1)


def _print_comparison(comparison: Comparison, folder: Path, console: Console) -> None:
    console.print()
    print_answer(comparison, console)
    console.print(f"\nThe report: {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _read(
    experiment: str,
    model: str | None,
    data: str | None,
    rows: str | None,
    seeds: int | None,
    arms: str | None,
    changes: list[str] | None,
) -> Experiment:
    places: dict[str, Any] = {}
    if model is not None:
        places["conditions.model"] = model
    if data is not None:
        places["conditions.task.data.source"] = data
    for split, count in _pairs(rows.split(",") if rows else [], "--rows"):
        places[f"conditions.task.data.rows.{split}"] = count
    if seeds is not None:
        places["seeds"] = seeds
    for place, value in _pairs(changes or [], "--set"):
        places[place] = value
    return read_experiment(experiment, places, arms.split(",") if arms else ())


def _pairs(texts: list[str], option: str) -> list[tuple[str, Any]]:
    """Read 'name=value' texts; a value is read as in an experiment file."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{option} {text}: write name=value")
        pairs.append((name.strip(), yaml.safe_load(value)))
    return pairs


def _print_plan(experiment: Experiment, console: Console) -> None:
    least, most = count_trials(experiment)
    rates = {name: arm.learning_rates[0] for name, arm in experiment.arms.items()}
    choices = {name: Choice(name, value, {}) for name, value in rates.items()}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Stage", "Arm", "Learning rate", "Seed", "Scored on"):
        table.add_column(title)
    for trial in tuning_trials(experiment):
        table.add_row("tuning", trial.arm, rate(trial.learning_rate), str(trial.seed), "validation")
    tuned = [name for name, arm in experiment.arms.items() if arm.is_tuned]
    if tuned:
        table.add_row("tuning", "each tuned arm", "one more, if a choice lies at an edge", "", "validation")
    for trial in final_trials(experiment, choices):
        chosen = "as chosen" if trial.arm in tuned else rate(trial.learning_rate)
        table.add_row("final", trial.arm, chosen, str(trial.seed), "test")
    console.print(table)
    console.print(f"\n{least} to {most} trials", highlight=False)
