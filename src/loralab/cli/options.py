"""The options that several commands take, and the experiment that they make."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from loralab import recipes, trackers
from loralab.errors import UserError
from loralab.experiment import Experiment
from loralab.files import read_experiment, read_value
from loralab.folder import ResultsFolder


def _complete_experiment(begun: str) -> list[str]:
    """Complete a recipe's name, or a file's."""
    folder, slash, _ = begun.rpartition("/")
    there = Path(f"{folder}{slash}" or ".")
    files = [one.name for one in there.iterdir() if one.suffix in (".yaml", ".yml")] if there.is_dir() else []
    offered = [*recipes.names(), *(f"{folder}{slash}{name}" for name in sorted(files))]
    return [name for name in offered if name.startswith(begun)]


def _complete_arm(context: typer.Context, begun: str) -> list[str]:
    """Complete an arm of the results folder that stands before."""
    there = [*filter(None, [context.params.get("folder")]), *context.args]  # what a shell has typed is not parsed yet
    with suppress(UserError, IndexError):
        return [name for name in ResultsFolder(Path(there[0])).experiment().arms if name.startswith(begun)]
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
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Another model: a folder, a hub id, or package:all-MiniLM-L6-v2.")
]
DataOption = Annotated[str | None, typer.Option("--data", help="Other data: a file, a folder or a hub id.")]
RowsOption = Annotated[str | None, typer.Option("--rows", metavar="train=N,...", help="Rows to use of each split.")]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", metavar="N|auto", help="How many; auto: until they decide.")
]
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
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="The model of this seed; else the arm's first.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A results folder.")]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The results folder; else runs/NAME.")]


def read(
    experiment: str,
    model: str | None,
    data: str | None,
    rows: str | None,
    seeds: str | None,
    arms: str | None,
    changes: list[str] | None,
) -> Experiment:
    """Return the experiment of a file or a recipe, with what the command line changes in it. Raises UserError."""
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
    return read_experiment(experiment, places, [name.strip() for name in arms.split(",")] if arms else ())


def _pairs(texts: list[str], option: str, form: str) -> list[tuple[str, Any]]:
    """Read 'name=value' texts; a value is read as in an experiment file."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{option} {text}: write {option} {form}")
        pairs.append((name.strip(), read_value(value, f"{option} {text}")))
    return pairs
