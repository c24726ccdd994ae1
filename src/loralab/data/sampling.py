"""Which rows serve for what, labelled or documents: missing splits are held out, samples drawn and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import PositiveInt

from loralab.data.rows import Flaws, Indices, Text
from loralab.data.texts import comparable
from loralab.errors import MistakesError
from loralab.settings import Settings

TEST_SHARE = 0.2  # of train, held out where there is no test split, unless the settings say another
# A carved validation split is a fifth of the rows to train on, within these bounds and never over a fifth of train:
# fewer can't tell learning rates apart, more make choosing them dearer than training.
VALIDATION_SHARE, VALIDATION_LEAST, VALIDATION_MOST = 0.2, 100, 1000


class RowCounts(Settings):
    """How many rows of each split to use: a seeded, stratified sample. Left out, all of them."""

    train: PositiveInt | None = None
    validation: PositiveInt | None = None
    test: PositiveInt | None = None


class Items(Protocol):
    """What is drawn from."""

    @property
    def texts(self) -> Sequence[Text]:
        """One for each item."""
        ...

    def __len__(self) -> int: ...

    def take(self: R, indices: Sequence[int] | Indices) -> R:
        """Return the items at `indices`, in that order."""
        ...


R = TypeVar("R", bound=Items)


@dataclass(frozen=True)
class Drawing(Generic[R]):
    """What the settings say about splits and samples."""

    source: str
    counts: RowCounts
    test_share: float  # of train, held out where there is no test split
    drop_shared: bool  # leave out of train and validation what also stands in test
    order: Callable[[R], Indices]  # every row once, seeded: each prefix is a sample
    called: str = "rows"
    way_out: str = "the source has too few"  # of a split that nothing is left for


def draw(found: Mapping[str, R], drawing: Drawing[R]) -> tuple[dict[str, R], Flaws]:
    """Return what is used as train, validation and test, and what test shares with the others.

    What `found` lacks of test and validation is held out of train. Raises MistakesError for splits with too few rows.
    """
    splits, dropped = _split(found, drawing)
    refuse(drawing.source, (_too_few(split, there, drawing) for split, there in splits.items()))
    used = {
        split: there.take(drawing.order(there)[: getattr(drawing.counts, split)]) for split, there in splits.items()
    }
    tested = _comparable(used["test"])
    shared, shared_validation = (len(_shared(used[split], tested)) for split in ("train", "validation"))
    return used, Flaws(shared=shared, shared_validation=shared_validation, dropped=dropped)


def left_for_training(rows: int, counts: RowCounts, test_share: float, *, has_test: bool, has_validation: bool) -> int:
    """Return how many of train's `rows` are left once what the source lacks is held out of them."""
    left = rows if has_test else rows - round(test_share * rows)
    return left if has_validation else left - _validation_count(left, counts)


def too_many_asked(setting: str, asked: int | None, there: int, called: str) -> str | None:
    """Say that `setting` asks for more than there is, or None."""
    return (
        f"{setting}: {asked} {called} asked for, but there are {there}" if asked is not None and asked > there else None
    )


def too_few_to_compare(place: str, used: int, called: str) -> str | None:
    """Say that scores of so few items can't be compared, or None."""
    if used >= 2:
        return None
    return f"{place}: one of its {called} doesn't tell how others would come out; use at least 2"


def refuse(source: str, found: Iterable[str | None]) -> None:
    """Raise one MistakesError with all mistakes among `found`, if there are any."""
    mistakes = [mistake for mistake in found if mistake is not None]
    if mistakes:
        raise MistakesError(source, mistakes)


def _split(found: Mapping[str, R], drawing: Drawing[R]) -> tuple[dict[str, R], int]:
    """Return train, validation and test, and how many rows the first two lost because test has their text."""
    train, test, validation = found["train"], found.get("test"), found.get("validation")
    if test is None:
        train, test = _hold_out(train, round(drawing.test_share * len(train)), drawing)
    dropped = 0
    if drawing.drop_shared:
        tested = _comparable(test)
        train, dropped = _without(tested, train)
        if validation is not None:
            validation, more = _without(tested, validation)
            dropped += more
    if validation is None:
        train, validation = _hold_out(train, _validation_count(len(train), drawing.counts), drawing)
    return {"train": train, "validation": validation, "test": test}, dropped


def _without(tested: frozenset[Text], rows: R) -> tuple[R, int]:
    """Return those of the rows whose text doesn't stand in test, and how many do."""
    shared = _shared(rows, tested)
    return (rows.take([row for row in range(len(rows)) if row not in shared]) if shared else rows), len(shared)


def _hold_out(rows: R, count: int, drawing: Drawing[R]) -> tuple[R, R]:
    """Return the rows without `count` of them, and those: a sample."""
    order = drawing.order(rows)
    return rows.take(order[count:]), rows.take(order[:count])


def _validation_count(there: int, counts: RowCounts) -> int:
    used = counts.train or there
    in_proportion = min(max(round(VALIDATION_SHARE * used), VALIDATION_LEAST), VALIDATION_MOST)
    return counts.validation or min(in_proportion, round(VALIDATION_SHARE * there))


def _too_few(split: str, rows: R, drawing: Drawing[R]) -> str | None:
    """Say why there are not enough rows in the split, or None."""
    asked = getattr(drawing.counts, split)
    if not len(rows):
        return f"{split}: no {drawing.called} are left for it; {drawing.way_out}"
    too_many = too_many_asked(f"data.rows.{split}", asked, len(rows), drawing.called)
    return too_many or (too_few_to_compare(split, asked or len(rows), drawing.called) if split == "test" else None)


def _comparable(test: Items) -> frozenset[Text]:
    """Return the texts of test as texts are compared."""
    return frozenset(comparable(text) for text in test.texts)


def _shared(rows: Items, tested: frozenset[Text]) -> frozenset[int]:
    """Return the places of those rows whose text stands in test, too."""
    return frozenset(row for row, text in enumerate(rows.texts) if comparable(text) in tested)
