"""Label values -> numbers from 0 and their names, or why they can't be told apart."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from loralab.data.records import first_few
from loralab.data.texts import whole_characters
from loralab.errors import MistakesError, UserError

MOST_CLASSES = 50  # with numbers for names; where there are more, and few rows of each, they are amounts
HIDDEN = -1  # stands for a label that isn't told, as GLUE keeps those of test back
ELSEWHERE = "test on a split that has labels, such as data.splits.test: validation"

# No leading zeros ('007' is a code), and no more digits than a float holds exactly.
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9]\d{0,14})(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
_TRUTH = {"false": 0, "true": 1}

Values = Mapping[str, Sequence[Any]]  # split -> labels


@dataclass(frozen=True)
class Numbered:
    """Labels as indices into their names."""

    names: tuple[str, ...]
    indices: Mapping[str, tuple[int, ...]]  # by split


def number_labels(values: Values, names: Sequence[str], source: str) -> Numbered:
    """Number the labels that train has, numbers by size and words by the alphabet, and apply it to every split.

    `names`, where there are any, name the numbers from 0, or give the order of the words. Raises UserError for labels
    that ask for another task, and MistakesError for labels that train lacks.
    """
    labels, names = _alike(values, names, source)
    known = _known(labels["train"], names)
    mistakes = [mistake for split in labels if (mistake := _unknown(split, labels, known, are_named=bool(names)))]
    classes = set(labels["train"])
    if len(classes) == 1:
        mistakes.append(f"train: every row has the label {classes.pop()!r}; there is nothing to tell apart")
    if mistakes:
        raise MistakesError(source, mistakes)
    return Numbered(
        names=tuple(names or map(str, known)),
        indices={split: tuple(known[label] for label in found) for split, found in labels.items()},
    )


def is_unlabelled(label: Any, *, are_named: bool) -> bool:
    """Tell whether a row has no label.

    Where numbers from 0 are named, -1 says so: GLUE keeps the labels of test back, and SNLI has none where its
    annotators didn't agree. Else it may be a class.
    """
    return is_missing(label) or (are_named and _number(label) == HIDDEN)


def is_number(label: Any) -> bool:
    """Tell whether it is, or spells, a number."""
    return _number(label) is not None


def is_missing(label: Any) -> bool:
    """Tell whether there is nothing where a label should be."""
    if isinstance(label, float):
        return math.isnan(label)
    return label is None or (isinstance(label, str) and not label.strip())


def _alike(values: Values, names: Sequence[str], source: str) -> tuple[Values, Sequence[str]]:
    """Return the labels as whole numbers, all of them, or as words, all of them; and the names, which truths bring."""
    every = [value for found in values.values() for value in found]
    several = next((value for value in every if isinstance(value, list | dict)), None)
    if several is not None:
        raise UserError(
            f"{source}: the label {several!r:.60} holds several values: that is multi-label classification, "
            "which is not compared here; give each text one label, or ask about one label at a time, true or false"
        )
    read = _reading(every)
    labels = {split: [read(value) for value in found] for split, found in values.items()}
    if read is _truth:
        if sorted(name.casefold() for name in names) == sorted(_TRUTH):  # in the order that was given
            places = [_TRUTH[name.casefold()] for name in names]
            return {split: [places.index(label) for label in found] for split, found in labels.items()}, names
        return labels, names or tuple(_TRUTH)
    _refuse_regression(labels, bool(names), source)
    return labels, names


def _reading(every: Sequence[Any]) -> Callable[[Any], Any]:
    if all(_plain(value).casefold() in _TRUTH for value in every):
        return _truth
    if all(_number(value) is not None for value in every):
        return _number
    return _plain


def _truth(value: Any) -> int:
    return _TRUTH[_plain(value).casefold()]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else whole_characters(str(value).strip())


def _number(value: Any) -> int | float | None:
    """Return the number that `value` is or spells, whole where it can be, or None."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal) or (isinstance(value, str) and _NUMBER.fullmatch(_plain(value))):
        number = float(_plain(value))
        return int(number) if number.is_integer() else number
    return None


def _refuse_regression(labels: Values, are_named: bool, source: str) -> None:
    fraction = next((label for found in labels.values() for label in found if isinstance(label, float)), None)
    amounts = set(labels["train"])
    if fraction is not None:
        what = f"labels are numbers with fractions, such as {fraction}"
    elif not are_named and _are_numbers(amounts) and len(amounts) > max(MOST_CLASSES, len(labels["train"]) / 2):
        what = f"labels are {len(amounts)} different numbers in {len(labels['train'])} rows of train"
    else:
        return
    raise UserError(
        f"{source}: {what}: that is regression, and only classification is compared here; "
        "make classes of them first, such as low, middle and high"
    )


def _are_numbers(labels: Iterable[Any]) -> bool:
    return all(isinstance(label, int) for label in labels)


def _known(train: Sequence[Any], names: Sequence[str]) -> dict[Any, int]:
    if not names:
        return {label: index for index, label in enumerate(sorted(set(train)))}
    return {index if _are_numbers(train) else name: index for index, name in enumerate(names)}


def _unknown(split: str, labels: Values, known: Mapping[Any, int], *, are_named: bool) -> str | None:
    """Say which labels of the split have no number, or that they are hidden."""
    unknown = {label for label in labels[split] if label not in known}
    if not unknown:
        return None
    if split == "test" and set(map(str, labels[split])) == {str(HIDDEN)}:
        return f"test: every label is {HIDDEN}, so the true ones are hidden; {ELSEWHERE}"
    among = ", ".join(first_few([repr(label) for label in known], "labels"))
    listed = ", ".join(first_few(sorted(map(repr, unknown)), "labels"))
    told = f"{split}: labels that are not among {among}: {listed}"
    is_hidden = are_named and {str(label) for label in unknown} == {str(HIDDEN)}
    return f"{told}; data.drop_unlabelled: true leaves rows of {HIDDEN} out" if is_hidden else told
