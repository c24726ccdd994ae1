"""Where rows come from: a folder of JSONL files, the hub, or a corpus that ships with pip packages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from loralab.data import docstrings
from loralab.data.rows import LabelledData, Rows, stratified_order
from loralab.errors import MistakesError, UserError
from loralab.hub import is_hub_id
from loralab.settings import Settings

SPLITS = ("train", "validation", "test")
# A carved validation split is a fifth of the rows to train on, within these bounds and never over a fifth of train:
# fewer can't tell learning rates apart, more make choosing them dearer than training.
VALIDATION_SHARE, VALIDATION_LEAST, VALIDATION_MOST = 0.2, 100, 1000
Records = list[Mapping[str, Any]]


class RowCounts(Settings):
    """How many rows of each split to use: a seeded, stratified sample. Left out, all of them."""

    train: PositiveInt | None = None
    validation: PositiveInt | None = None
    test: PositiveInt | None = None


class Data(Settings):
    """Labelled texts: where they lie and which of them to use.

    `source` is a hub id, a folder with `train.jsonl`, `test.jsonl` and, if there is one, `validation.jsonl`, or
    `package:docstrings`, the embedded corpus.
    """

    source: str
    text: str = "text"  # the column with the text
    label: str = "label"  # the column with the label: a name or a number
    label_names: tuple[str, ...] = ()  # names for labels that are numbers from 0, in order
    rows: RowCounts = RowCounts()
    seed: NonNegativeInt = Field(default=0, description="draws the sample and the validation split")

    @model_validator(mode="before")
    @classmethod
    def _from_source_alone(cls, value: Any) -> Any:
        """Read `data: stanfordnlp/imdb` as `data: {source: stanfordnlp/imdb}`."""
        return {"source": value} if isinstance(value, str) else value

    def is_on_hub(self) -> bool:
        """Tell whether reading needs the hub."""
        return is_hub_id(self.source) and not Path(self.source).expanduser().is_dir()

    def read(self) -> LabelledData:
        """Read, split and sample. Without a validation split, one is carved from train, stratified and seeded.

        Raises UserError with every mistake of the source at once.
        """
        splits, names = self._read_splits()
        if not splits["validation"]:
            splits["train"], splits["validation"] = self._carve(splits["train"])
        asked = {split: getattr(self.rows, split) for split in SPLITS}
        short = [
            f"data.rows.{split}: {asked[split]} rows asked for, but there are {len(splits[split])}"
            for split in SPLITS
            if asked[split] is not None and asked[split] > len(splits[split])
        ]
        if short:
            raise MistakesError(self.source, short)
        sampled = {
            split: rows.take(stratified_order(rows.labels, self.seed)[: asked[split]]) for split, rows in splits.items()
        }
        return LabelledData(**sampled, label_names=names)

    def _read_splits(self) -> tuple[dict[str, Rows], tuple[str, ...]]:
        records, names = self._read_records()
        mistakes = [
            f"{split}: no rows; a comparison needs rows to train on and others to test on"
            for split in ("train", "test")
            if not records[split]
        ]
        for column, setting in ((self.text, "text"), (self.label, "label")):
            for split in SPLITS:
                lacking = [row for row, record in enumerate(records[split]) if record.get(column) is None]
                if lacking:
                    there = ", ".join(records[split][lacking[0]]) or "none"
                    mistakes.append(
                        f"{split}, row {lacking[0] + 1}: no column {column!r} (columns there: {there}); "
                        f"name the right one with data.{setting}"
                    )
        if mistakes:
            raise MistakesError(self.source, mistakes)
        labels = {split: [record[self.label] for record in records[split]] for split in SPLITS}
        are_numbers = all(isinstance(label, int) for label in labels["train"])
        names = names or self.label_names
        if names:
            known: dict[Any, int] = {index if are_numbers else name: index for index, name in enumerate(names)}
        else:
            values = sorted(set(labels["train"]), key=None if are_numbers else str)
            names = tuple(map(str, values))
            known = {value: index for index, value in enumerate(values)}
        unknown = {split: sorted({repr(label) for label in labels[split] if label not in known}) for split in SPLITS}
        mistakes = [
            f"{split}: labels that are not among {', '.join(map(repr, known))}: {', '.join(found)}"
            for split, found in unknown.items()
            if found
        ]
        if len(set(labels["train"])) < 2:
            mistakes.append(f"train: every row has the label {labels['train'][0]!r}; there is nothing to tell apart")
        if mistakes:
            raise MistakesError(self.source, mistakes)
        rows = {
            split: Rows(
                ids=tuple(f"{split}/{row}" for row in range(len(records[split]))),
                texts=tuple(str(record[self.text]) for record in records[split]),
                labels=tuple(known[label] for label in labels[split]),
            )
            for split in SPLITS
        }
        return rows, tuple(names)

    def _read_records(self) -> tuple[dict[str, Records], tuple[str, ...]]:
        if self.source == docstrings.SOURCE:
            return docstrings.read(), tuple(docstrings.LIBRARIES)
        folder = Path(self.source).expanduser()
        if folder.is_dir():
            return _read_folder(folder), ()
        if not is_hub_id(self.source):
            raise UserError(f"data.source: there is no folder {self.source!r}, and a hub id looks like 'owner/name'")
        return _read_hub(self.source, self.label)

    def _carve(self, train: Rows) -> tuple[Rows, Rows]:
        used = self.rows.train or len(train)
        in_proportion = min(max(round(VALIDATION_SHARE * used), VALIDATION_LEAST), VALIDATION_MOST)
        count = self.rows.validation or min(in_proportion, round(VALIDATION_SHARE * len(train)))
        order = stratified_order(train.labels, self.seed)
        return train.take(order[count:]), train.take(order[:count])


def _read_folder(folder: Path) -> dict[str, Records]:
    missing = [
        f"{split}.jsonl: no such file" for split in ("train", "test") if not (folder / f"{split}.jsonl").exists()
    ]
    if missing:
        raise MistakesError(str(folder), missing)
    return {split: list(_read_jsonl(folder / f"{split}.jsonl")) for split in SPLITS}


def _read_jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():  # a folder need not have a validation file
        return
    # Read as bytes: text mode would also split lines at characters that JSON allows inside a string (U+2028, U+0085).
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(record, dict):
                raise UserError(f"{path}, line {number}: {line[:40]!r} is not an object with columns")
            yield record


def _read_hub(source: str, label: str) -> tuple[dict[str, Records], tuple[str, ...]]:
    import datasets

    try:
        found = datasets.load_dataset(source)
    except Exception as error:  # the hub, its caches and its scripts fail with dozens of types
        raise UserError(
            f"data: {source!r} is neither a folder here nor a data set that the hub gave: {error}\n"
            "  give a folder with train.jsonl and test.jsonl (--data DIR), or a hub id while the hub can be reached"
        ) from error
    feature = found["train"].features.get(label) if "train" in found else None
    records = {split: list(found[split]) if split in found else [] for split in SPLITS}
    return records, tuple(getattr(feature, "names", None) or ())
