"""Commands that take an experiment: write one, tell what it takes, carry it out."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from loralab import api, pretrained
from loralab.cli.options import (
    ArmsOption,
    DataOption,
    ExperimentName,
    ModelOption,
    OutOption,
    RowsOption,
    SeedsOption,
    SetOption,
    TrackOption,
    read,
)
from loralab.cli.printing import print_comparison, print_forecast, print_lines, print_page
from loralab.data.texts import printable
from loralab.display import Display
from loralab.experiment import Experiment
from loralab.files import read_experiment
from loralab.hub import as_path
from loralab.report import planned, print_table
from loralab.schema import json_schema
from loralab.statistics import power
from loralab.writing import require_new, write_new, write_whole


def quickstart(out: OutOption = None, track: TrackOption = None) -> None:
    """Run the built-in experiment: real weights, real text, no download, some minutes on two cores.

    For example: loralab quickstart --out runs/first
    """
    _run(read_experiment("quickstart"), out or Path("runs/quickstart"), track)


def init(
    data: Annotated[str, typer.Option("--data", help="A file, a folder or a hub id.")],
    model: ModelOption = None,
    configuration: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of a hub data set that has several, or a folder inside the data."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to write.")] = Path("experiment.yaml"),
) -> None:
    """Write a commented experiment file for your model and data, and say what was guessed.

    For example: loralab init --data reviews.csv --model distilbert/distilbert-base-uncased
    """
    require_new(to)  # before anything is fetched
    drafted = api.draft(data, model, configuration)
    write_new(to, drafted.text)
    console = Console()
    for guess in drafted.guesses:
        console.print(Text(printable(f"Guessed: {guess}")), soft_wrap=True)
    look = "Look it over"
    if drafted.flaw is not None:
        console.print(Text(printable(f"It can't be carried out as it stands: {drafted.flaw}")), soft_wrap=True)
        look = "Change it"
    command = f"loralab plan {quote(str(to))}"
    console.print(f"Written: {to}. {look}, then: {command}", markup=False, highlight=False, soft_wrap=True)


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
    asked = read(experiment, model, data, rows, seeds, arms, changes)
    _run(asked, out or Path("runs") / Path(experiment).stem, track)


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
    """Tell what an experiment would do and take, and what it could decide, without carrying it out.

    For example: loralab plan questions.yaml --seeds 5 --measure
    """
    asked = read(experiment, model, data, rows, seeds, arms, changes)
    console = Console()
    # Without measuring, a plan downloads nothing.
    has_data = measure or not asked.conditions.task.is_on_hub()
    has_model = not pretrained.is_on_hub(asked.conditions.model)
    found = api.check(asked) if has_data else None
    # Mistakes come before a long table.
    counted = api.inspect(asked) if has_data and has_model and not measure else None
    print_table(planned.trials(asked), console)
    console.print(f"\n{planned.how_many(asked)}", highlight=False)
    test_rows = asked.conditions.task.data.rows.test if found is None else len(found.test)
    if test_rows is not None:
        print_lines(planned.decidable(asked, test_rows, disagreement), console)
    if measure:
        print_forecast(asked, console)
    elif counted is None:
        lacking = " and ".join(name for name, is_there in (("model", has_model), ("data", has_data)) if not is_there)
        console.print(f"\nWhat each arm trains is not known before a download; --measure fetches the {lacking}.")
    else:
        console.print()
        print_table(planned.parameters(counted), console)


def schema(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The file to write, instead of printing it.")
    ] = None,
) -> None:
    """Print the JSON Schema of experiment files, by which editors complete and check them.

    For example: loralab schema --to loralab.json
    """
    text = json.dumps(json_schema(), indent=2)
    if to is None:
        typer.echo(text)
        return
    write_whole(as_path(to), text + "\n")
    line = f"# yaml-language-server: $schema={to}"
    Console().print(
        f"Written: {to}. As the first line of an experiment file: {line}", markup=False, highlight=False, soft_wrap=True
    )


def _run(experiment: Experiment, out: Path, track: list[str] | None) -> None:
    console, out = Console(), as_path(out)  # a shell leaves the ~ of --out=~/runs alone
    console.print(f"{planned.how_many(experiment)}, results in {out}", markup=False, highlight=False)
    try:
        if not (out / "experiment.json").exists() and _is_long(experiment):
            print_forecast(experiment, console)
        with Display(console) as display:
            comparison = api.run(experiment, out, watcher=display, trackers=_trackers(track))
    except KeyboardInterrupt:
        finished = any((out / "trials").glob("*.json"))
        kept = (
            f"What is finished is kept in {out}, and 'loralab report {quote(str(out))}' shows it"
            if finished
            else "Nothing had finished yet"
        )
        console.print(f"Stopped. {kept}; the same command goes on from there.", markup=False, soft_wrap=True)
        raise SystemExit(130) from None
    print_comparison(comparison, console)
    print_page(out / "report.html", console)
    if any(not failure.is_answer for failure in comparison.failures):
        raise SystemExit(1)


def _trackers(asked: list[str] | None) -> list[str]:
    return ["tensorboard"] if asked is None else [name for name in asked if name != "none"]


def _is_long(experiment: Experiment) -> bool:
    return planned.is_long(experiment, experiment.conditions.task.count_examples(api.check(experiment)))
