"""Where rows come from, which of them are used, and how they are split: the same for every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, field_validator, model_validator
from pydantic_core import PydanticCustomError

from loralab.data.columns import Cells, read_cells
from loralab.data.labels import is_unlabelled, number_labels
from loralab.data.locate import is_on_hub, read_splits, source_alone
from loralab.data.records import Columns, Records, common_names, first_few, gather
from loralab.data.rows import LabelledData, Rows, stratified_order
from loralab.data.sampling import TEST_SHARE, Drawing, RowCounts, draw, refuse
from loralab.data.splits import SPLITS, SplitNames
from loralab.settings import Settings


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
    test_share: Annotated[float, Field(gt=0, lt=1)] = TEST_SHARE  # of train, where the source has no test split
    drop_shared: bool = False  # leave out of train and validation what also stands in test
    drop_unlabelled: bool = False  # leave out rows without a label, or with -1 where numbers from 0 have names
    clean_markup: bool = False  # '<br />' and entities become what they stand for, other tags vanish
    seed: NonNegativeInt = Field(default=0, description="draws the sample and the splits that are held out")

    _from_source_alone = model_validator(mode="before")(source_alone)

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
        records = read_splits(self.source, self.configuration, self.splits, self.columns)
        names = self.label_names or common_names(records.values()).get(self.label, ())
        cells = self._read_cells(records, are_named=bool(names))
        labels = number_labels({split: found.labels for split, found in cells.items()}, names, self.source)
        rows = {split: Rows(found.ids, found.texts, labels.indices[split]) for split, found in cells.items()}
        used, flaws = draw(rows, self._drawing())
        refuse(self.source, (_untaught(split, used, labels.names) for split in SPLITS))
        flaws = replace(
            flaws,
            without_text={split: found.without_text for split, found in cells.items() if found.without_text},
            without_label={split: found.without_label for split, found in cells.items() if found.without_label},
        )
        return LabelledData(**used, label_names=labels.names, flaws=flaws)

    def _drawing(self) -> Drawing[Rows]:
        return Drawing(
            source=self.source,
            counts=self.rows,
            test_share=self.test_share,
            drop_shared=self.drop_shared,
            order=lambda rows: stratified_order(rows.labels, self.seed),
        )

    def _read_cells(self, records: Mapping[str, Records], *, are_named: bool) -> dict[str, Cells]:
        def drops(label: Any) -> bool:
            return self.drop_unlabelled and is_unlabelled(label, are_named=are_named)

        calls = [
            partial(read_cells, split, found, self.columns, clean_markup=self.clean_markup, drops=drops)
            for split, found in records.items()
        ]
        return dict(zip(records, gather(self.source, calls), strict=True))


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
    listed = ", ".join(first_few([repr(names[label]) for label in lacking], "labels"))
    return f"{split}: labels that no row of train in use has: {listed}; data.rows.train says how many are in use"
