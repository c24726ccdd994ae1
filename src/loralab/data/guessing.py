"""What data hold that nobody has described yet: guesses at the text, the label and the splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from loralab.data.labels import is_missing, is_number, is_unlabelled
from loralab.data.locate import find_splits, read_chosen
from loralab.data.records import Columns, Records, Row
from loralab.data.splits import SplitNames, looks_like, spellings_of
from loralab.errors import UserError

# Names that columns often have, the likeliest first.
LABELS = ("label", "labels", "target", "class", "category", "intent", "sentiment", "topic", "y")
TEXTS = ("text", "sentence", "review", "content", "body", "message", "document", "utterance", "question", "title")
PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("question", "sentence"))
LOOKED_AT = 1000  # rows, at most
MOST_LABELS = 50


@dataclass(frozen=True)
class Guessed:
    """What the data hold."""

    text: str | tuple[str, str]  # the column, or two
    label: str | None
    rows: Mapping[str, list[Row]]  # with a label, where there are labels; by split
    unlabelled: Mapping[str, int]  # rows that have none, by split; none where it isn't listed
    hides_test: bool  # whether test has no label and validation has, as in GLUE: it is left alone then
    splits: Mapping[str, str | None]  # names that the file must give, since they aren't the usual ones
    are_named: bool  # whether the source has names for labels that are numbers
    passed_over: str | None  # a column that is called as labels often are, and holds none

    @property
    def used(self) -> Mapping[str, list[Row]]:
        """The rows by what they serve for in the file, where validation may be tested on."""
        return {**self.rows, "test": self.rows["validation"]} if self.hides_test else self.rows


def some(rows: Sequence[Row]) -> list[Row]:
    """Return so many rows as are looked at, from all of them: they may be sorted, or take turns."""
    if len(rows) <= LOOKED_AT:
        return list(rows)
    return [rows[place] for place in sorted(np.random.default_rng(0).choice(len(rows), LOOKED_AT, replace=False))]


def guess(source: str, configuration: str | None) -> Guessed:
    """Return what the splits hold. Raises UserError."""
    names, splits = _read(source, configuration)
    looked_at = some(splits["train"].rows)
    text, label = _columns(looked_at)
    labelled = {split: _labelled(found, label) for split, found in splits.items()}
    if not labelled["train"]:
        raise UserError(f"no row of train has a label in {label!r}")
    hides_test = not labelled.get("test", True) and bool(labelled.get("validation"))
    if hides_test:
        del labelled["test"]
    gaps = {split: len(splits[split].rows) - len(rows) for split, rows in labelled.items()}
    unlabelled = {split: count for split, count in gaps.items() if count}
    written: dict[str, str | None] = {**names}
    if hides_test:
        written = {"test": names.get("validation", "validation")}
        if "validation" in names:  # else another one that looks like validation would be asked about
            written["validation"] = None
    are_named = label in splits["train"].class_names
    passed_over = next((name for name in LABELS if label is None and any(name in row for row in looked_at)), None)
    return Guessed(
        text,
        label,
        labelled,
        unlabelled,
        hides_test=hides_test,
        splits=written,
        are_named=are_named,
        passed_over=passed_over,
    )


def _read(source: str, configuration: str | None) -> tuple[dict[str, str], dict[str, Records]]:
    """Return the names of splits that have others than usual, and the splits, with labels if they have any."""
    try:
        return _read_with(source, configuration, Columns(("text",), "label"))
    except UserError:
        return _read_with(source, configuration, Columns(("text",), None))


def _read_with(source: str, configuration: str | None, columns: Columns) -> tuple[dict[str, str], dict[str, Records]]:
    there = find_splits(source, configuration, SplitNames().spellings(), columns)
    names = {}
    for split in ("validation", "test"):
        alike = [name for name in there if looks_like(split, name)]
        if alike and not set(spellings_of(split)) & set(there):
            names[split] = alike[0]
    return names, read_chosen(there, SplitNames(**names), source)


def _columns(rows: Sequence[Row]) -> tuple[str | tuple[str, str], str | None]:
    """Guess which column, or pair, holds the text, and which one the label, if any. Raises UserError."""
    there = list(dict.fromkeys(name for row in rows for name in row))
    named = (name for name in LABELS if name in there and _may_be_labels([row.get(name) for row in rows]))
    label = next(named, None) or _fewest_values(rows, there)
    words = [name for name in there if name != label and _holds_text([row.get(name) for row in rows])]
    pair = next((pair for pair in PAIRS if set(pair) <= set(words)), None)
    if pair is not None and label is not None:
        return pair, label
    if not words:
        raise UserError(f"no column holds text; the columns are {', '.join(map(str, there)) or 'none'}")
    usual = next((name for name in TEXTS if name in words), None)
    return usual or max(words, key=lambda name: fmean(len(row.get(name) or "") for row in rows)), label


def _may_be_labels(values: Sequence[object]) -> bool:
    """Tell whether words come again and again, as a translation's don't; numbers are judged where they are read."""
    given = [value for value in values if not is_missing(value)]
    kinds = len(set(map(str, given)))
    return kinds <= max(MOST_LABELS, len(given) / 2) or all(map(is_number, given))


def _labelled(records: Records, label: str | None) -> list[Row]:
    """Return the rows that have a label, or all where none is asked for."""
    if label is None:
        return records.rows
    are_named = label in records.class_names
    return [row for row in records.rows if not is_unlabelled(row.get(label), are_named=are_named)]


def _holds_text(values: Sequence[object]) -> bool:
    """Return whether they are texts, some of which may be missing."""
    return any(values) and all(value is None or isinstance(value, str) for value in values)


def _fewest_values(rows: Sequence[Row], there: Sequence[str]) -> str | None:
    """Return the column with the fewest values, each of which comes again and again, or None."""
    counts = {
        name: len({str(row.get(name)) for row in rows})
        for name in there
        if all(isinstance(row.get(name), str | int | bool) for row in rows)
    }
    likely = {name: count for name, count in counts.items() if 2 <= count <= min(MOST_LABELS, len(rows) // 5)}
    return min(likely, key=lambda name: likely[name]) if likely else None
