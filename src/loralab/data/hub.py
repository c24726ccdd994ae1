"""Data sets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from loralab.data.records import Columns, Reader, Records, Table, numbered
from loralab.errors import UserError


def find_on_hub(source: str, configuration: str | None, columns: Columns) -> Mapping[str, Reader]:
    """Download the data set, or find it in the cache, and return how to read each of its splits.

    Raises UserError with the hub's reason, which lists the configurations where one must be named.
    """
    import datasets

    try:
        found = datasets.load_dataset(source, configuration)
    except Exception as error:  # the hub, its caches and its scripts fail with dozens of types
        if isinstance(error, ValueError) and "config" in str(error).lower():
            raise UserError(f"data.configuration (of init: --configuration): {error}") from error
        raise UserError(
            f"data: {source!r} is neither a folder or file here nor a data set that the hub gave: {error}\n"
            "  give a folder or file (--data PATH), or a hub id while the hub can be reached"
        ) from error
    return {name: partial(_read, name, split, columns) for name, split in found.items()}


def _read(name: str, split: Any, columns: Columns) -> Records:
    from datasets import ClassLabel

    if set(columns.all) <= set(split.column_names):
        split = split.select_columns(columns.all)  # others may be large, or need a library to be decoded
    classes = {
        column: tuple(feature.names) for column, feature in split.features.items() if isinstance(feature, ClassLabel)
    }
    return numbered(name, Table(split.to_list(), classes))
