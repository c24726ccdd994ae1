"""What a language model is trained and scored on: documents, where they lie and which of them are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from loralab.data.columns import read_texts
from loralab.data.cutting import articles, headings
from loralab.data.documents import CorpusData, Documents
from loralab.data.locate import find_splits, is_on_hub, read_splits, source_alone
from loralab.data.records import Columns, Reader, Records, first_few, gather
from loralab.data.rows import Indices, stratified_order
from loralab.data.sampling import TEST_SHARE, Drawing, RowCounts, draw, refuse, too_few_to_compare, too_many_asked
from loralab.data.splits import SplitNames, spellings_of
from loralab.errors import MistakesError
from loralab.settings import Settings

# What a document is: the lines from one WikiText heading (' = Title = ') to the next; a row; or an article in a split
# that has such headings, and a row in one that has none.
Cut = Literal["auto", "articles", "rows"]
# What a token may see: its own document's tokens alone, or those of the documents before it, too.
Context = Literal["document", "corpus"]


class Corpus(Settings):
    """Documents to train on, to choose learning rates by and to test on.

    `source` is a hub id; a file (text, JSON lines, JSON, CSV, TSV, Parquet, Arrow); a folder with such files, named
    after splits; a folder of text files, each a document, with or without folders for the splits; or
    `package:docstrings`, the embedded corpus. The rows of a text file are its lines where it has WikiText headings,
    else its paragraphs, else its lines.
    """

    source: str
    configuration: str | None = None  # of a hub id that has several, or the folder of that name inside `source`
    splits: SplitNames = SplitNames()
    text: str = "text"  # the column with the text
    documents: Cut = "auto"
    context: Context = "corpus"
    rows: RowCounts = RowCounts()  # documents of each split to use
    test_share: Annotated[float, Field(gt=0, lt=1)] = TEST_SHARE  # of train, where the source has no test split
    drop_shared: bool = False  # leave out of train and validation what also stands in test
    clean_markup: bool = False  # '<br />' and entities become what they stand for, other tags vanish
    seed: NonNegativeInt = Field(default=0, description="draws the sample and the splits that are held out")

    _from_source_alone = model_validator(mode="before")(source_alone)

    @property
    def columns(self) -> Columns:
        """The column that is read."""
        return Columns((self.text,), label=None)

    def is_on_hub(self) -> bool:
        """Tell whether reading needs the hub."""
        return is_on_hub(self.source)

    def read(self) -> CorpusData:
        """Read, split and sample; the documents of a split keep the source's order, whatever sample is drawn.

        What the source lacks of test and validation is held out, seeded. Raises UserError with every mistake of the
        source at once.
        """
        records = read_splits(self.source, self.configuration, self.splits, self.columns)
        calls = [
            partial(_read_documents, split, found, self.columns, self.documents, clean_markup=self.clean_markup)
            for split, found in records.items()
        ]
        read = dict(zip(records, gather(self.source, calls), strict=True))
        found = {split: documents for split, (documents, _) in read.items()}
        drawing: Drawing[Documents] = Drawing(
            source=self.source,
            counts=self.rows,
            test_share=self.test_share,
            drop_shared=self.drop_shared,
            order=partial(_random_order, seed=self.seed),
            called="documents",
            way_out="give a folder with train.txt, validation.txt and test.txt, or cut smaller ones: `documents: rows`",
        )
        used, flaws = draw(found, drawing)
        without_text = {split: count for split, (_, count) in read.items() if count}
        return CorpusData(
            **{split: _in_order_of(found, documents) for split, documents in used.items()},
            others={},
            flaws=replace(flaws, without_text=without_text),
        )


class EvaluationSet(Settings):
    """A further set of documents to score on, such as LAMBADA; `source` as of a corpus."""

    source: str
    configuration: str | None = None  # of a hub id that has several, or the folder of that name inside `source`
    split: str = "test"  # a source that has but one is scored on that one
    text: str = "text"  # the column with the text
    documents: Cut = "auto"
    context: Context = "document"
    rows: PositiveInt | None = None  # documents to use, a seeded sample; left out, all of them
    clean_markup: bool = False  # '<br />' and entities become what they stand for, other tags vanish
    seed: NonNegativeInt = 0  # draws the sample
    last_word: bool = False  # score whether the last word of each document is predicted right, as LAMBADA asks

    _from_source_alone = model_validator(mode="before")(source_alone)

    @model_validator(mode="after")
    def _asks_each_document_alone(self) -> EvaluationSet:
        if self.last_word and self.context == "corpus":
            raise PydanticCustomError("last_word", "last_word is asked of each document alone: context is 'document'")
        return self

    @property
    def columns(self) -> Columns:
        """The column that is read."""
        return Columns((self.text,), label=None)

    def is_on_hub(self) -> bool:
        """Tell whether reading needs the hub."""
        return is_on_hub(self.source)

    def read(self) -> Documents:
        """Read and sample, in the source's order. Raises UserError with every mistake of the source at once."""
        names = SplitNames().spellings() | {self.split}
        there = find_splits(self.source, self.configuration, names, self.columns)
        named = [name for name in spellings_of(self.split) if name in there] or (list(there) if len(there) == 1 else [])
        if not named:
            raise MistakesError(self.source, [f"split: there is no split {self.split!r}; there are {', '.join(there)}"])
        (documents,) = gather(self.source, [partial(self._read_split, named[0], there[named[0]])])
        too_few = too_few_to_compare("rows", self.rows or len(documents), "documents")
        refuse(self.source, [too_many_asked("rows", self.rows, len(documents), "documents") or too_few])
        return documents.take(sorted(_random_order(documents, self.seed)[: self.rows]))

    def _read_split(self, name: str, reader: Reader) -> Documents:
        documents, _ = _read_documents(name, reader(), self.columns, self.documents, clean_markup=self.clean_markup)
        alone = [row for row, text in zip(documents.ids, documents.texts, strict=True) if len(text.split()) < 2]
        if self.last_word and alone:
            mistakes = [f"{row}: there is no word before the last one to predict it from" for row in alone]
            raise MistakesError(self.source, first_few(mistakes, f"documents of {name}"))
        return documents


def _read_documents(
    split: str, records: Records, columns: Columns, cut: Cut, *, clean_markup: bool
) -> tuple[Documents, int]:
    """Return the documents of a split, and how many rows were left out because they have no text.

    Raises MistakesError with what is missing, and in which row.
    """
    rows = Documents(tuple(records.ids), tuple(read_texts(split, records, columns, clean_markup=clean_markup)))
    starts = [] if cut == "rows" else headings(rows.texts)
    if starts:
        return articles(rows, starts), 0
    kept = [place for place, text in enumerate(rows.texts) if text.strip()]
    if not kept:
        raise MistakesError(split, [f"{split}: no row has text in {columns.texts[0]!r}"])
    if cut == "articles":
        raise MistakesError(
            split, [f"{split}: no line is an article's heading, such as ' = Title = '; say `documents: rows`"]
        )
    return rows.take(kept), len(rows) - len(kept)


def _random_order(documents: Documents, seed: int) -> Indices:
    return stratified_order([0] * len(documents), seed)  # of one class, so nothing but random


def _in_order_of(found: Mapping[str, Documents], drawn: Documents) -> Documents:
    """Return the drawn documents in the order in which they were found: context goes from one to the next."""
    place = {name: place for place, name in enumerate(name for documents in found.values() for name in documents.ids)}
    return drawn.take(sorted(range(len(drawn)), key=lambda row: place[drawn.ids[row]]))
