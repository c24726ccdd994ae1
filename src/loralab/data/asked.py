"""A file -> the texts in it that a model is asked about; nothing there is labelled."""

from __future__ import annotations

from pathlib import Path

from loralab.data.formats import TEXT_ENDING, read_file, read_text
from loralab.data.records import Columns, Row, first_few
from loralab.data.rows import Text
from loralab.data.texts import as_text, with_plain_line_ends
from loralab.errors import MistakesError, UserError


def read_asked(file: Path, columns: Columns) -> list[Text]:
    """Return the lines of a text file, or what a table has in the columns with the texts, row by row.

    Raises UserError for what can't be read, and for a table that lacks such a column.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    if file.suffix.lower() == TEXT_ENDING:
        return [*lines(read_text(file), columns)]
    rows = read_file(file, Columns(columns.texts, label=None)).rows
    mistakes, texts = list[str](), list[Text]()
    for number, row in enumerate(rows, start=1):
        try:
            texts.append(_text(row, columns.texts))
        except (KeyError, TypeError) as error:
            what = f"no column {error}" if isinstance(error, KeyError) else str(error)
            mistakes.append(f"row {number}: {what}")
    if mistakes:
        raise MistakesError(str(file), first_few(mistakes, "rows"))
    return texts


def lines(text: str, columns: Columns) -> list[str]:
    """Return the lines of a text, an answer for each: other line ends than a line feed's are part of a text.

    Raises UserError where the model reads pairs, of which a line is none.
    """
    if len(columns.texts) == 2:
        raise UserError(
            f"texts: this model was trained on pairs, and a line is one text; "
            f"give --file a table with the columns {' and '.join(columns.texts)}"
        )
    return with_plain_line_ends(text).removesuffix("\n").split("\n") if text else []


def _text(row: Row, columns: tuple[str, ...]) -> Text:
    found = [as_text(row[column]) for column in columns]
    return found[0] if len(found) == 1 else (found[0], found[1])
