"""Where rows come from, which of them are used, and how they are split: the same for every arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError

from loralab.data.columns import Cells, read_cells
from loralab.data.labels import number_labels
from loralab.data.locate import find_splits, is_on_hub
from loralab.data.records import Columns, Records, common_names, gather, shortened
from loralab.data.rows import Flaws, LabelledData, Rows, hold_out, stratified_order
from loralab.data.splits import SPLITS, SplitNames
from loralab.data.texts import comparable
from loralab.errors import MistakesError
from loralab.settings import Settings

# A carved validation split is a fifth of the rows to train on, within these bounds and never over a fifth of train:
# fewer can't tell learning rates apart, more make choosing them dearer than training.
VALIDATION_SHARE, VALIDATION_LEAST, VALIDATION_MOST = 0.2, 100, 1000


class RowCounts(Settings):
    """How many rows of each split to use: a seeded, stratified sample. Left out, all of them."""

    train: PositiveInt | None = None
    validation: PositiveInt | None = None
    test: PositiveInt | None = None


class Data(Settings):
    """Labelled texts: where they lie and which of them to use.

    `source` is a hub id; a file (JSON lines, JSON, CSV, TSV, Parquet, Arrow); a folder with such files, named after
    splits or one a class; a folder of text files a class; or `package:docstrings`, the embedded corpus.
    """

    source: str
    configuration: str | None = None  # of a hub id that has several, or the folder of that name inside `source`
    splits: SplitNames = SplitNames()
    text: str | tuple[str, str] = "text"  # the column with the text, or two for pairs
    label: str = "label"  # the column with the label: a word, a number, or true and false
    label_names: tuple[str, ...] = ()  # names for labels that are numbers from 0, in order
    rows: RowCounts = RowCounts()
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2  # of train, held out where the source has no test split
    drop_shared: bool = False  # leave out of train what also stands in test
    clean_markup: bool = False  # '<br />' and entities become what they stand for, other tags vanish
    seed: NonNegativeInt = Field(default=0, description="draws the sample and the splits that are held out")

    @model_validator(mode="before")
    @classmethod
    def _from_source_alone(cls, value: Any) -> Any:
        """Read `data: stanfordnlp/imdb` as `data: {source: stanfordnlp/imdb}`."""
        return {"source": value} if isinstance(value, str) else value

    @field_validator("text", mode="before")
    @classmethod
    def _is_a_column_or_two(cls, value: Any) -> Any:
        is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(name, str) for name in value)
        if not is_pair and not isinstance(value, str):
            raise PydanticCustomError("text", "{value} is neither a column's name nor a list of two", {"value": value})
        return value

    @field_validator("label_names", mode="after")
    @classmethod
    def _are_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise PydanticCustomError("distinct", "{name} is given twice", {"name": repr(twice)})
        return names

    @property
    def columns(self) -> Columns:
        """The columns that are read."""
        return Columns((self.text,) if isinstance(self.text, str) else self.text, self.label)

    def is_on_hub(self) -> bool:
        """Tell whether reading needs the hub."""
        return is_on_hub(self.source)

    def read(self) -> LabelledData:
        """Read, split and sample. What the source lacks of test and validation is held out, stratified and seeded.

        Raises UserError with every mistake of the source at once.
        """
        records = self._read_records()
        cells = self._read_cells(records)
        names = self.label_names or common_names(records.values()).get(self.label, ())
        labels = number_labels({split: found.labels for split, found in cells.items()}, names, self.source)
        rows = {split: Rows(found.ids, found.texts, labels.indices[split]) for split, found in cells.items()}
        splits, dropped = self._split(rows)
        self._refuse(self._too_few(split, found) for split, found in splits.items())
        used = {
            split: found.take(stratified_order(found.labels, self.seed)[: getattr(self.rows, split)])
            for split, found in splits.items()
        }
        self._refuse(_untaught(split, used, labels.names) for split in SPLITS)
        flaws = Flaws(
            shared=len(_shared(used["train"], used["test"])),
            dropped=dropped,
            without_text={split: found.without_text for split, found in cells.items() if found.without_text},
        )
        return LabelledData(**used, label_names=labels.names, flaws=flaws)

    def _read_records(self) -> dict[str, Records]:
        there = find_splits(self.source, self.configuration, self.splits.spellings(), self.columns)
        chosen = self.splits.choose(there, self.source)
        found = gather(self.source, [there[name] for name in chosen.values()])
        return dict(zip(chosen, found, strict=True))

    def _read_cells(self, records: Mapping[str, Records]) -> dict[str, Cells]:
        calls = [
            partial(read_cells, split, found, self.columns, clean_markup=self.clean_markup)
            for split, found in records.items()
        ]
        return dict(zip(records, gather(self.source, calls), strict=True))

    def _split(self, found: Mapping[str, Rows]) -> tuple[dict[str, Rows], int]:
        """Return train, validation and test, and how many rows train lost because test has their text."""
        train, test, validation = found["train"], found.get("test"), found.get("validation")
        if test is None:
            train, test = hold_out(train, round(self.test_share * len(train)), self.seed)
        shared = _shared(train, test) if self.drop_shared else frozenset()
        if shared:
            train = train.take([row for row in range(len(train)) if row not in shared])
        if validation is None:
            train, validation = hold_out(train, self._validation_count(len(train)), self.seed)
        return {"train": train, "validation": validation, "test": test}, len(shared)

    def _validation_count(self, there: int) -> int:
        used = self.rows.train or there
        in_proportion = min(max(round(VALIDATION_SHARE * used), VALIDATION_LEAST), VALIDATION_MOST)
        return self.rows.validation or min(in_proportion, round(VALIDATION_SHARE * there))

    def _refuse(self, found: Iterable[str | None]) -> None:
        mistakes = [mistake for mistake in found if mistake is not None]
        if mistakes:
            raise MistakesError(self.source, mistakes)

    def _too_few(self, split: str, rows: Rows) -> str | None:
        """Say why there are not enough rows in the split, or None."""
        asked = getattr(self.rows, split)
        if asked is not None and asked > len(rows):
            return f"data.rows.{split}: {asked} rows asked for, but there are {len(rows)}"
        return None if len(rows) else f"{split}: no rows are left for it; the source has too few"


def _untaught(split: str, used: Mapping[str, Rows], names: Sequence[str]) -> str | None:
    """Say which labels of the split no row of train in use has, or that train teaches a single one, or None."""
    taught = set(used["train"].labels)
    if split == "train":
        (only, *others) = sorted(taught)
        return (
            None if others else f"train: every row in use has the label {names[only]!r}; there is nothing to tell apart"
        )
    lacking = sorted(set(used[split].labels) - taught)
    if not lacking:
        return None
    listed = ", ".join(shortened([repr(names[label]) for label in lacking], "labels"))
    return f"{split}: labels that no row of train has: {listed}"


def _shared(train: Rows, test: Rows) -> frozenset[int]:
    """Return the places of those rows of train whose text stands in test, too."""
    tested = {comparable(text) for text in test.texts}
    return frozenset(row for row, text in enumerate(train.texts) if comparable(text) in tested)
