"""The columns that an experiment reads -> texts and label values, row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from loralab.data.records import Columns, Records, Row, shortened
from loralab.data.rows import Text
from loralab.data.texts import as_text, without_markup
from loralab.errors import MistakesError


@dataclass(frozen=True)
class Cells:
    """What the rows of one split hold, rows without text left out; three sequences of one length."""

    ids: tuple[str, ...]
    texts: tuple[Text, ...]
    labels: tuple[Any, ...]  # as they stand in the source
    without_text: int  # rows that were left out


def read_cells(split: str, records: Records, columns: Columns, *, clean_markup: bool) -> Cells:
    """Take texts and labels out of `records`. Raises MistakesError with what is missing, and in which row."""
    missing = _missing_columns(split, records.rows, columns)
    if missing:
        raise MistakesError(split, missing)
    kept: list[tuple[str, Text, Any]] = []
    no_text, no_label = [], []
    for number, (name, row) in enumerate(zip(records.ids, records.rows, strict=True), start=1):
        try:
            text = _text(row, columns, clean_markup=clean_markup)
        except TypeError as error:
            no_text.append(f"{split}, row {number}: {error}")
            continue
        if text is None:
            continue
        label = row.get(columns.label)
        if _is_missing(label):
            no_label.append(f"{split}, row {number}: the column {columns.label!r} holds no label")
        kept.append((name, text, label))
    mistakes = shortened(no_text, f"rows of {split}") + shortened(no_label, f"rows of {split} without a label")
    if not kept and not mistakes:
        mistakes.append(f"{split}: no row has text in {_quoted(columns.texts)}")
    if mistakes:
        raise MistakesError(split, mistakes)
    ids, texts, labels = zip(*kept, strict=True)
    return Cells(ids, texts, labels, without_text=len(records.rows) - len(kept))


def _missing_columns(split: str, rows: list[Row], columns: Columns) -> list[str]:
    if not rows:
        return [f"{split}: no rows; a comparison needs rows to train on and others to test on"]
    return [
        f"{split}: no column {column!r} (columns there: {', '.join(map(str, rows[0])) or 'none'}); "
        f"name the right one with data.{'label' if column == columns.label else 'text'}"
        for column in columns.all
        if not any(column in row for row in rows)
    ]


def _text(row: Row, columns: Columns, *, clean_markup: bool) -> Text | None:
    """Return the row's text or pair, or None where there is none to read."""
    found = [as_text(row.get(column)) for column in columns.texts]
    if clean_markup:
        found = [without_markup(text) for text in found]
    if any(not text or text.isspace() for text in found):
        return None
    return found[0] if len(found) == 1 else (found[0], found[1])


def _is_missing(label: Any) -> bool:
    if isinstance(label, float):
        return math.isnan(label)
    return label is None or (isinstance(label, str) and not label.strip())


def _quoted(names: tuple[str, ...]) -> str:
    return " and ".join(map(repr, names))
