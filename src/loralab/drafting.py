"""From a model and data to a commented experiment file, with what was guessed on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from loralab.data.labels import is_unlabelled
from loralab.data.locate import find_splits, read_chosen
from loralab.data.records import Columns, Records, Row
from loralab.data.sampling import TEST_SHARE, RowCounts, left_for_training
from loralab.data.splits import SplitNames, looks_like, spellings_of
from loralab.data.texts import as_text
from loralab.errors import UserError
from loralab.files import parse_experiment, read_value
from loralab.pretrained import load_tokenizer
from loralab.usual_arms import USUAL_ARMS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODELS = {"classification": "distilbert/distilbert-base-uncased", "causal-lm": "openai-community/gpt2"}
# Names that columns often have, the likeliest first.
LABELS = ("label", "labels", "target", "class", "category", "intent", "sentiment", "topic", "y")
TEXTS = ("text", "sentence", "review", "content", "body", "message", "document", "utterance", "question", "title")
PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("question", "sentence"))
LOOKED_AT = 1000  # rows, at most
WHOLE = 0.98  # so large a share of the texts is to be read whole
STEP = 16  # of a guessed length, in tokens
BLOCK = 256  # tokens, of a language model's text
MOST_ROWS = {"train": 2000, "test": 5000}  # to begin with: an answer today rather than next week
MOST_LABELS = 50


@dataclass(frozen=True)
class Draft:
    """An experiment file that hasn't been written yet."""

    text: str
    guesses: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """What the data hold."""

    text: str | tuple[str, str]  # the column, or two
    label: str | None
    rows: Mapping[str, list[Row]]  # with a label, where there are labels; by split
    unlabelled: Mapping[str, int]  # rows that have none, by split; none where it isn't listed
    hides_test: bool  # whether test has no label and validation has, as in GLUE: it is left alone then
    splits: Mapping[str, str | None]  # names that the file must give, since they aren't the usual ones

    @property
    def used(self) -> Mapping[str, list[Row]]:
        """The rows by what they serve for in the file, where validation may be tested on."""
        return {**self.rows, "test": self.rows["validation"]} if self.hides_test else self.rows


def draft(source: str, model: str | None, configuration: str | None) -> Draft:
    """Write an experiment file for the data `source`, and for `model` or the usual one of the task.

    Raises UserError where the data can't be read, or nothing in them looks like text.
    """
    seen = _look(source, configuration)
    kind = "causal-lm" if seen.label is None else "classification"
    model = model or MODELS[kind]
    tokenizer = load_tokenizer(model)
    rows = _some(seen.rows["train"])
    lengths = _lengths(rows, seen.text, tokenizer)
    length = min(BLOCK if kind == "causal-lm" else _enough(lengths), tokenizer.model_max_length)
    fill = partial(
        _template("experiment.yaml.j2").render,
        kind=kind,
        model=_quoted(model),
        source=_quoted(source),
        configuration=configuration and _quoted(configuration),
        text=_quoted(seen.text),
        label=_quoted(seen.label),
        hides_test=seen.hides_test,
        splits={split: name if name == "validation" else _quoted(name) for split, name in seen.splits.items()},
        drops_unlabelled=bool(seen.unlabelled),
        is_usual=(seen.text, seen.label) in (("text", "label"), ("text", None)),
        length=length,
        arms={name: _flow(arm) for name, arm in USUAL_ARMS[kind].items()},
    )
    few = {} if seen.label is None else _few(seen, seen.label)
    if few and not _is_enough(fill(rows=few)):
        few = {}
    written: str = fill(rows=few)
    parse_experiment(read_value(written, "the draft"), "the draft")
    columns, cut = _told_columns(seen.text, seen.label, rows), _told_length(lengths, length, kind)
    return Draft(written, (columns, *_told_splits(seen), *_told_gaps(seen), cut, *_told_few(seen, few)))


def _some(rows: Sequence[Row]) -> list[Row]:
    """Return so many rows as are looked at, from all of them: they may be sorted, or take turns."""
    if len(rows) <= LOOKED_AT:
        return list(rows)
    return [rows[place] for place in sorted(np.random.default_rng(0).choice(len(rows), LOOKED_AT, replace=False))]


def _look(source: str, configuration: str | None) -> _Seen:
    """Return what the splits hold. Raises UserError."""
    names, splits = _read(source, configuration)
    text, label = _columns(_some(splits["train"].rows))
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
    return _Seen(text, label, labelled, unlabelled, hides_test=hides_test, splits=written)


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
    label = next((name for name in LABELS if name in there), None) or _fewest_values(rows, there)
    words = [name for name in there if name != label and _holds_text([row.get(name) for row in rows])]
    pair = next((pair for pair in PAIRS if set(pair) <= set(words)), None)
    if pair is not None and label is not None:
        return pair, label
    named = next((name for name in TEXTS if name in words), None)
    if named is None and not words:
        raise UserError(f"no column holds text; the columns are {', '.join(map(str, there)) or 'none'}")
    return named or max(words, key=lambda name: fmean(len(row.get(name) or "") for row in rows)), label


def _labelled(records: Records, label: str | None) -> list[Row]:
    """Return the rows that have a label, or all where none is asked for."""
    if label is None:
        return records.rows
    are_named = label in records.class_names
    return [row for row in records.rows if not is_unlabelled(row.get(label), are_named=are_named)]


def _few(seen: _Seen, label: str) -> dict[str, int]:
    """Return how many rows to begin with, of the splits that have more: of train, enough to hold every label.

    In a sample, the first row of a label of n of N rows has about the place N / 2n (`stratified_order`).
    """
    train, test = seen.used["train"], seen.used.get("test")
    sizes = Counter(str(row.get(label)) for row in train)
    least = len(train) // (2 * min(sizes.values())) + len(sizes) + 1
    asked = MOST_ROWS | {"train": max(MOST_ROWS["train"], least)}
    has_validation = "validation" in seen.rows and not seen.hides_test
    left = left_for_training(
        len(train),
        RowCounts(train=asked["train"]),
        TEST_SHARE,
        has_test=test is not None,
        has_validation=has_validation,
    )
    there = {"train": left, "test": len(test or ())}
    return {split: most for split, most in asked.items() if there[split] > most}


def _is_enough(written: str) -> bool:
    """Tell whether so few rows do, by reading them: a label may be too rare, and rows without text don't count."""
    try:
        parse_experiment(read_value(written, "the draft"), "the draft").conditions.task.data.read()
    except UserError:
        return False
    return True


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


def _told_splits(seen: _Seen) -> list[str]:
    if seen.hides_test:  # which is told with the gaps
        return []
    return [f"{name!r} is meant for {split}, by its name" for split, name in seen.splits.items()]


def _told_gaps(seen: _Seen) -> list[str]:
    hidden = "test has no labels; the file tests on validation, and holds part of train out to tune on"
    gaps = [
        f"{count:,} of the {count + len(seen.rows[split]):,} rows of {split} have no label; they are left out"
        for split, count in seen.unlabelled.items()
    ]
    return [hidden, *gaps] if seen.hides_test else gaps


def _told_few(seen: _Seen, few: Mapping[str, int]) -> list[str]:
    names = {"test": "validation"} if seen.hides_test else {}
    return [
        f"{names.get(split, split)} has {len(seen.used[split]):,} rows; the file begins with {few[split]:,} of them"
        for split in few
    ]


def _told_columns(text: str | tuple[str, str], label: str | None, rows: Sequence[Row]) -> str:
    told = f"the text is in {text!r}" if isinstance(text, str) else f"the texts are in {text[0]!r} and {text[1]!r}"
    if label is None:
        return f"{told}; nothing looks like a label, so it is a language model that learns from it"
    values = Counter(str(row.get(label)) for row in rows)
    shown = ", ".join(name for name, _ in values.most_common(5)) + (" and others" if len(values) > 5 else "")
    return f"{told}, the label in {label!r} ({len(values)} in {len(rows):,} rows looked at: {shown})"


def _lengths(
    rows: Sequence[Row], text: str | tuple[str, str], tokenizer: PreTrainedTokenizerBase
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the tokens of each text, of a pair together."""
    names = (text,) if isinstance(text, str) else text
    columns = [[as_text(row.get(name)) for row in rows] for name in names]
    return np.array([len(tokens) for tokens in tokenizer(*columns, verbose=False)["input_ids"]])


def _enough(lengths: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    """Return a length at which most texts are read whole."""
    enough = int(np.quantile(lengths, WHOLE))
    return min(512, max(STEP, -(-enough // STEP) * STEP))


def _told_length(lengths: np.ndarray[Any, np.dtype[np.int64]], length: int, kind: str) -> str:
    if kind == "causal-lm":
        return f"texts are cut into blocks of {length} tokens"
    cut = float((lengths > length).mean())
    return f"texts have {int(np.median(lengths))} tokens in the median; at {length}, {100 * cut:.1f} % are cut"


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML


def _flow(setting: Any) -> str:
    """Return an arm's settings, whose words need no quotes, on one line of YAML as people write it."""
    if isinstance(setting, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(value)}" for name, value in setting.items()) + "}"
    if isinstance(setting, list | tuple):
        return "[" + ", ".join(map(_flow, setting)) + "]"
    is_small = isinstance(setting, float) and setting < 0.01
    return f"{setting:e}".replace(".000000", "").replace("e-0", "e-") if is_small else str(setting)


def _template(name: str) -> Any:
    environment = Environment(
        loader=PackageLoader("loralab", "recipes"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
