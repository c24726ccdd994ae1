"""The columns that an experiment reads -> texts and label values, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loralab.data.labels import ELSEWHERE, is_missing
from loralab.data.records import Columns, Records, Row, first_few
from loralab.data.rows import Text
from loralab.data.texts import as_text, without_markup
from loralab.errors import MistakesError


@dataclass(frozen=True)
class Cells:
    """What the rows of one split hold, those without text or label left out; three sequences of one length."""

    ids: tuple[str, ...]
    texts: tuple[Text, ...]
    labels: tuple[Any, ...]  # as they stand in the source
    without_text: int  # rows that were left out
    without_label: int  # further ones


def read_cells(
    split: str, records: Records, columns: Columns, *, clean_markup: bool, drops: Callable[[Any], bool]
) -> Cells:
    """Take texts and labels out of `records`. Raises MistakesError with what is missing, and in which row.

    `drops` tells of a label whether its row is left out.
    """
    assert columns.label is not None
    _refuse_missing_columns(split, records.rows, columns)
    kept: list[tuple[str, Text, Any]] = []
    no_text, no_label = [], []
    without_text = without_label = 0
    for number, (name, row) in enumerate(zip(records.ids, records.rows, strict=True), start=1):
        try:
            text = _text(row, columns, clean_markup=clean_markup)
        except TypeError as error:
            no_text.append(f"{split}, row {number}: {error}")
            continue
        label = row.get(columns.label)
        if text is None:
            without_text += 1
        elif drops(label):
            without_label += 1
        elif is_missing(label):
            no_label.append(f"{split}, row {number}: the column {columns.label!r} holds no label")
        else:
            kept.append((name, text, label))
    mistakes = first_few(no_text, f"rows of {split}") + first_few(no_label, f"rows of {split} without a label")
    if no_label:
        mistakes[-1] += "; data.drop_unlabelled: true leaves rows without a label out"
    if not kept and not mistakes:
        mistakes.append(f"{split}: no row has {_lacking(split, columns, is_labelled=not without_label)}")
    if mistakes:
        raise MistakesError(split, mistakes)
    ids, texts, labels = zip(*kept, strict=True)
    return Cells(ids, texts, labels, without_text, without_label)


def read_texts(split: str, records: Records, columns: Columns, *, clean_markup: bool) -> list[str]:
    """Return the text of every row, empty where it has none. Raises MistakesError as `read_cells` does."""
    _refuse_missing_columns(split, records.rows, columns)
    texts: list[str] = []
    mistakes = []
    for number, row in enumerate(records.rows, start=1):
        try:
            texts += _texts_of(row, columns, clean_markup=clean_markup)
        except TypeError as error:
            mistakes.append(f"{split}, row {number}: {error}")
    if mistakes:
        raise MistakesError(split, first_few(mistakes, f"rows of {split}"))
    return texts


def _refuse_missing_columns(split: str, rows: list[Row], columns: Columns) -> None:
    if not rows:
        raise MistakesError(split, [f"{split}: no rows; a comparison needs rows to train on and others to test on"])
    missing = [
        f"{split}: no column {column!r} (columns there: {', '.join(map(str, rows[0])) or 'none'}); "
        f"name the right one with {_setting(column, columns)}"
        for column in columns.all
        if not any(column in row for row in rows)
    ]
    if missing:
        raise MistakesError(split, missing)


def _text(row: Row, columns: Columns, *, clean_markup: bool) -> Text | None:
    """Return the row's text or pair, or None where there is none to read."""
    found = _texts_of(row, columns, clean_markup=clean_markup)
    if any(not text or text.isspace() for text in found):
        return None
    return found[0] if len(found) == 1 else (found[0], found[1])


def _setting(column: str, columns: Columns) -> str:
    if columns.label is None:
        return "text"  # of the data, or of a further set to score on
    return "data.label" if column == columns.label else "data.text"


def _texts_of(row: Row, columns: Columns, *, clean_markup: bool) -> list[str]:
    """Return the row's texts, one for each column. Raises TypeError for a cell that is no text."""
    found = [as_text(row.get(column)) for column in columns.texts]
    return [without_markup(text) for text in found] if clean_markup else found


def _lacking(split: str, columns: Columns, *, is_labelled: bool) -> str:
    if is_labelled:
        return f"text in {_quoted(columns.texts)}"
    return f"a label in {columns.label!r}" + (f"; {ELSEWHERE}" if split == "test" else "")


def _quoted(names: tuple[str, ...]) -> str:
    return " and ".join(map(repr, names))
