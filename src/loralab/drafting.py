"""From a model and data to a commented experiment file, with what was guessed on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from loralab.data.guessing import Guessed, guess, some
from loralab.data.labels import number_labels
from loralab.data.records import Row
from loralab.data.sampling import TEST_SHARE, RowCounts, left_for_training
from loralab.data.texts import as_text
from loralab.errors import UserError
from loralab.files import parse_experiment, read_value
from loralab.pretrained import load_tokenizer
from loralab.tasks import CausalLM
from loralab.usual_arms import USUAL_ARMS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODELS = {"classification": "distilbert/distilbert-base-uncased", "causal-lm": "openai-community/gpt2"}
WHOLE = 0.98  # so large a share of the texts is to be read whole
STEP = 16  # of a guessed length, in tokens
BLOCK = 256  # tokens, of a language model's text
MOST_ROWS = {"train": 2000, "test": 5000}  # to begin with: an answer today rather than next week


@dataclass(frozen=True)
class Draft:
    """An experiment file that hasn't been written yet."""

    text: str
    guesses: tuple[str, ...]
    flaw: str | None  # why the data can't be used so, or None


def draft(source: str, model: str | None, configuration: str | None) -> Draft:
    """Write an experiment file for the data `source`, and for `model` or the usual one of the task.

    Raises UserError where the data can't be read, or nothing in them looks like text.
    """
    seen = guess(source, configuration)
    kind = "causal-lm" if seen.label is None else "classification"
    model = model or MODELS[kind]
    tokenizer = load_tokenizer(model)
    rows = some(seen.rows["train"])
    bare = _bare_numbers(seen)
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
        bare_numbers=bare and _quoted(bare),
        is_usual=(seen.text, seen.label) in (("text", "label"), ("text", None)),
        length=length,
        arms={name: _flow(arm) for name, arm in USUAL_ARMS[kind].items()},
    )
    few = {} if seen.label is None else _few(seen, seen.label)
    written: str = fill(rows=few)
    flaw = _flaw(written, tokenizer)
    if few and flaw is not None:  # a label may be too rare for so few rows, and rows without text don't count
        few, written = {}, fill(rows={})
        flaw = _flaw(written, tokenizer)
    columns, cut = _told_columns(seen.text, seen.label, rows), _told_length(lengths, length, kind)
    told = (
        columns,
        *_told_passed_over(seen),
        *_told_numbers(bare),
        *_told_splits(seen),
        *_told_gaps(seen),
        cut,
        *_told_few(seen, few),
    )
    return Draft(written, told, flaw)


def _few(seen: Guessed, label: str) -> dict[str, int]:
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


def _flaw(written: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Say why data or model can't be used as the file says, by reading them, or None."""
    experiment = parse_experiment(read_value(written, "the draft"), "the draft")
    task = experiment.conditions.task
    try:
        task.read()
        if isinstance(task, CausalLM):
            task.check_tokenizer(tokenizer)
    except UserError as error:
        return str(error)
    return None


def _bare_numbers(seen: Guessed) -> list[str]:
    """Return the labels where they are the numbers from 0 on and nothing says what they stand for; else none."""
    if seen.label is None or seen.are_named:
        return []
    try:
        names = number_labels({"train": [row.get(seen.label) for row in seen.rows["train"]]}, (), "train").names
    except UserError:  # which is told as the draft's flaw
        return []
    return list(names) if list(names) == list(map(str, range(len(names)))) else []


def _told_passed_over(seen: Guessed) -> list[str]:
    name = seen.passed_over
    return [f"{name!r} is called as labels are, but its values hardly come again"] if name else []


def _told_numbers(bare: Sequence[str]) -> list[str]:
    told = "the labels are numbers that nothing names; label_names, in the file, can say what they stand for"
    return [told] if bare else []


def _told_splits(seen: Guessed) -> list[str]:
    if seen.hides_test:  # which is told with the gaps
        return []
    return [f"{name!r} is meant for {split}, by its name" for split, name in seen.splits.items()]


def _told_gaps(seen: Guessed) -> list[str]:
    hidden = "test has no labels; the file tests on validation, and holds part of train out to tune on"
    gaps = [
        f"{count:,} of the {count + len(seen.rows[split]):,} rows of {split} have no label; they are left out"
        for split, count in seen.unlabelled.items()
    ]
    return [hidden, *gaps] if seen.hides_test else gaps


def _told_few(seen: Guessed, few: Mapping[str, int]) -> list[str]:
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
