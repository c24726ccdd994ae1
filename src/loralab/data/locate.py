"""From what `data.source` says to how each split that lies there is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from loralab.data import docstrings
from loralab.data.folders import find_in_file, find_in_folder, inner_folder
from loralab.data.formats import TABLES, TEXT_ENDING
from loralab.data.hub import find_on_hub
from loralab.data.records import Columns, Reader, Records, Table, gather, numbered
from loralab.data.splits import SplitNames
from loralab.errors import UserError
from loralab.hub import as_path, is_hub_id


def source_alone(value: Any) -> Any:
    """Read `data: stanfordnlp/imdb` as `data: {source: stanfordnlp/imdb}`: for settings that have a source."""
    return {"source": value} if isinstance(value, str) else value


def is_on_hub(source: str) -> bool:
    """Tell whether the hub alone can have `source`."""
    path = as_path(source)
    return is_hub_id(source) and not path.exists() and path.suffix.lower() not in (*TABLES, TEXT_ENDING)


def read_splits(source: str, configuration: str | None, splits: SplitNames, columns: Columns) -> dict[str, Records]:
    """Read what serves as train, and as test and validation where the source has them.

    Raises UserError with every mistake of the source at once.
    """
    return read_chosen(find_splits(source, configuration, splits.spellings(), columns), splits, source)


def read_chosen(there: Mapping[str, Reader], splits: SplitNames, source: str) -> dict[str, Records]:
    """Read likewise what serves of the splits `there`, which were found in `source`."""
    chosen = splits.choose(there, source)
    found = gather(source, [there[name] for name in chosen.values()])
    return dict(zip(chosen, found, strict=True))


def find_splits(
    source: str, configuration: str | None, names: Collection[str], columns: Columns
) -> Mapping[str, Reader]:
    """Return how to read each split of `source`, by the name that it has there; `names` are what splits may be called.

    Raises UserError where there is no such source, or nothing in it that can be read.
    """
    path = as_path(source)
    if configuration is not None and (source == docstrings.SOURCE or path.is_file()):
        raise UserError(f"data.configuration: {source} has none; leave the setting out")
    if source == docstrings.SOURCE:
        classes = {"label": tuple(docstrings.LIBRARIES)}
        return {split: partial(numbered, split, Table(rows, classes)) for split, rows in docstrings.read().items()}
    if path.is_dir():
        inside = path if configuration is None else inner_folder(path, configuration)
        return find_in_folder(inside, names, columns)
    if path.is_file():
        return find_in_file(path, columns)
    if not is_on_hub(source):
        raise UserError(f"data.source: there is no file or folder {source!r}, and a hub id looks like 'owner/name'")
    return find_on_hub(source, configuration, columns)
