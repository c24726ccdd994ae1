"""Rows as they lie in a source: named columns, nothing judged yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from loralab.errors import MistakesError, UserError

T = TypeVar("T")
Row = Mapping[str, Any]
ClassNames = Mapping[str, tuple[str, ...]]  # column -> what its numbers from 0 mean, where the source says so

MOST_LISTED = 5  # of mistakes of one kind, or of values: more would bury the others


@dataclass(frozen=True)
class Columns:
    """The columns that an experiment reads."""

    texts: tuple[str, ...]  # one, or two for pairs
    label: str | None  # None: nothing is labelled

    @property
    def all(self) -> list[str]:
        """Every column, once."""
        return list(dict.fromkeys((*self.texts, *([] if self.label is None else [self.label]))))


@dataclass(frozen=True)
class Table:
    """The rows of one file."""

    rows: list[Row]
    class_names: ClassNames = field(default_factory=dict)


@dataclass(frozen=True)
class Records:
    """The rows of one split, each with an id that stays the same whatever sample is drawn."""

    ids: list[str]
    rows: list[Row]
    class_names: ClassNames = field(default_factory=dict)


Reader = Callable[[], Records]  # reads a split when it is called


def numbered(name: str, table: Table) -> Records:
    """Give each row of `table` an id such as 'train/17'."""
    return Records([f"{name}/{place}" for place in range(len(table.rows))], table.rows, table.class_names)


def joined(parts: Sequence[Records]) -> Records:
    """Return the rows of all parts as one split."""
    return Records(
        ids=[name for part in parts for name in part.ids],
        rows=[row for part in parts for row in part.rows],
        class_names=common_names(parts),
    )


def common_names(parts: Iterable[Records]) -> ClassNames:
    """Return what the numbers of each column mean. Raises UserError where two parts mean different things by them."""
    common: dict[str, tuple[str, ...]] = {}
    for part in parts:
        for column, names in part.class_names.items():
            if common.setdefault(column, names) != names:
                raise UserError(
                    f"the numbers in the column {column!r} stand for {', '.join(common[column])} in one place and for "
                    f"{', '.join(names)} in another; save all of it with the same names"
                )
    return common


def gather(source: str, calls: Iterable[Callable[[], T]]) -> list[T]:
    """Return what the calls return, or raise one MistakesError with the mistakes of all that failed."""
    results: list[T] = []
    mistakes: list[str] = []
    for call in calls:
        try:
            results.append(call())
        except MistakesError as error:
            mistakes += error.mistakes
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise MistakesError(source, mistakes)
    return results


def first_few(items: Sequence[str], rest: str) -> list[str]:
    """Return the first items and, where there are more, how many; `rest` says what of."""
    left = len(items) - MOST_LISTED
    return [*items] if left <= 0 else [*items[:MOST_LISTED], f"and {left} more {rest}"]
