"""One file -> its rows, in each form in which people keep texts."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from loralab.data.cutting import rows_of_text
from loralab.data.records import Columns, Row, Table, first_few
from loralab.data.texts import with_plain_line_ends
from loralab.errors import MistakesError, UserError

DELIMITERS = (",", ";", "\t", "|")
FileReader = Callable[[Path, bytes, Columns], Table]
LONGEST_FIELD = 2**31 - 1  # of a CSV file, in characters; Python stops at 131,072, and a field of a book is no mistake
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_file(path: Path, columns: Columns) -> Table:
    """Return the rows of a file whose form its ending tells; a form that is kept by columns yields only `columns`.

    Raises UserError that names the file and, where there is one, the line.
    """
    ending = path.suffix.lower()
    read = readers(columns).get(ending)
    if read is None:
        raise UserError(f"{path}: a file that ends in {ending or 'nothing'} is not read; {endings_read(columns)}")
    content = _bytes(path)
    if not content.strip():
        raise UserError(f"{path} is empty")
    return read(path, content, columns)


def read_text(path: Path) -> str:
    """Return what stands in a text file. Raises UserError where it is not UTF-8."""
    return _decode(path, _bytes(path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16" if content.startswith(UTF_16) else "WINDOWS-1252"  # the two that programs still write
        raise UserError(
            f"{path}, line {line}: byte {error.start + 1} ({content[error.start]:#04x}) is not UTF-8; "
            f"save the file as UTF-8, for example with: iconv -f {encoding} -t UTF-8"
        ) from None


def _read_jsonl(path: Path, content: bytes, _: Columns) -> Table:
    return _json_lines(path, _decode(path, content))


def _json_lines(path: Path, text: str) -> Table:
    rows: list[Row] = []
    mistakes = []
    # Not splitlines(), which also cuts at characters that JSON allows inside a string (U+2028, U+0085).
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        place = f"{path}, line {number}"
        try:
            row = _parse_json(place, line)
        except UserError as error:
            mistakes.append(str(error))
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            mistakes.append(f"{place}: {line[:40]!r} is not an object with columns")
    if mistakes:
        raise MistakesError(str(path), first_few(mistakes, f"lines of {path.name}"))
    return Table(rows)


def _parse_json(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError may also be a number with thousands of digits
        raise UserError(f"{place}: not JSON ({error})") from None


def _read_json(path: Path, content: bytes, _: Columns) -> Table:
    text = _decode(path, content)
    lines = text.strip().split("\n", 1)
    if len(lines) > 1 and _is_object(lines[0]):  # one object a line: many a .json file holds JSON lines
        return _json_lines(path, text)
    whole = _parse_json(str(path), text)
    rows = _rows_of(whole)
    if rows is None:
        raise UserError(
            f"{path}: neither a list of objects, nor an object with one such list, nor one with columns of one length"
        )
    return Table(rows)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_parse_json("", line), dict)
    except UserError:
        return False


def _rows_of(whole: Any) -> list[Row] | None:
    """Return the rows of a JSON document, or None where it holds no table."""
    if isinstance(whole, list):
        return whole if all(isinstance(row, dict) for row in whole) else None
    if not isinstance(whole, dict):
        return None
    lists = [value for value in whole.values() if isinstance(value, list)]
    tables = [found for found in lists if found and all(isinstance(row, dict) for row in found)]
    if len(tables) == 1:
        return tables[0]
    if not tables and lists and len(lists) == len(whole) and len({len(column) for column in lists}) == 1:
        return [dict(zip(whole, values, strict=True)) for values in zip(*lists, strict=True)]
    return None


def _read_csv(path: Path, content: bytes, columns: Columns) -> Table:
    text = _decode(path, content)
    delimiter = _delimiter(text.lstrip().partition("\n")[0], path.suffix.lower())
    read = partial(_csv_table, path, text, columns, delimiter)
    if delimiter != "\t":
        return read(csv.QUOTE_MINIMAL)
    # Between tabs, quotes are often mere characters, and a line is a row (GLUE's files).
    try:
        quoted = read(csv.QUOTE_MINIMAL)
    except UserError:
        with suppress(UserError):
            return read(csv.QUOTE_NONE)
        raise
    if any("\t" in value and "\n" in value for row in quoted.rows for value in row.values()):  # rows in one field
        with suppress(UserError):
            return read(csv.QUOTE_NONE)
    return quoted


def _delimiter(header: str, ending: str) -> str:
    """Return the sign that stands most often between the header's names."""
    outside = re.sub(r'"[^"]*"', "", header)
    if ending == ".tsv" and ("\t" in outside or not any(sign in outside for sign in DELIMITERS)):
        return "\t"
    return max(DELIMITERS, key=outside.count)


def _csv_table(path: Path, text: str, columns: Columns, delimiter: str, quoting: Literal[0, 3]) -> Table:
    csv.field_size_limit(LONGEST_FIELD)  # of the whole process: the module knows no other way
    # Strict: without it, a quote that is never closed swallows all rows that follow.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[Row] = []
    mistakes = []
    try:
        header = [name.strip() for name in next(filter(None, reader))]
        twice = [name for name in columns.all if header.count(name) > 1]
        if twice:
            raise UserError(f"{path}, line 1: names the column {twice[0]!r} twice")
        for values in reader:
            if len(values) == len(header):
                rows.append(dict(zip(header, values, strict=True)))
            elif values:  # a blank line has none
                mistakes.append(
                    f"{path}, line {reader.line_num}: the fields are {len(values)}, but line 1 names {len(header)}; "
                    f"a field that holds {delimiter!r} stands in quotes"
                )
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: {error}; a quote inside a quoted field is written twice"
        ) from None
    if mistakes:
        raise MistakesError(str(path), first_few(mistakes, f"lines of {path.name}"))
    return Table(rows)


def _read_parquet(path: Path, content: bytes, columns: Columns) -> Table:
    def read() -> Any:
        import pyarrow
        from pyarrow.parquet import ParquetFile

        file = ParquetFile(pyarrow.BufferReader(content))
        return file.read(_needed(file.schema_arrow.names, columns))

    return _arrow_table(path, "Parquet", read)


def _read_arrow(path: Path, content: bytes, columns: Columns) -> Table:
    def read() -> Any:
        import pyarrow

        is_file = content.startswith(b"ARROW1")  # else a stream, as `datasets` writes it
        opened = (pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream)(pyarrow.BufferReader(content))
        table = opened.read_all()
        return table.select(_needed(table.column_names, columns))

    return _arrow_table(path, "Arrow", read)


def _needed(there: list[str], columns: Columns) -> list[str]:
    """Return the columns to turn into Python objects: those that are used, or all where one is missing."""
    return columns.all if set(columns.all) <= set(there) else there


def _arrow_table(path: Path, form: str, read: Callable[[], Any]) -> Table:
    try:
        table = read()
        table.validate(full=True)  # broken offsets would read memory that isn't the table's
        return Table(table.to_pylist(), dict(_class_names(table.schema.metadata or {})))
    except Exception as error:  # broken bytes fail with dozens of types
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} can't be read as {form}: {reason or type(error).__name__}") from None


def _class_names(metadata: Mapping[bytes, bytes]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Find what `datasets` wrote beside the columns of type ClassLabel."""
    described = json.loads(metadata.get(b"huggingface", b"{}"))
    for column, feature in described.get("info", {}).get("features", {}).items():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            yield column, tuple(map(str, feature["names"]))


def _read_txt(path: Path, content: bytes, columns: Columns) -> Table:
    return Table([{columns.texts[0]: text} for text in rows_of_text(with_plain_line_ends(_decode(path, content)))])


TEXT_ENDING = ".txt"
TABLES: Mapping[str, FileReader] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}


def readers(columns: Columns) -> Mapping[str, FileReader]:
    """Return what reads each ending. A file of mere text has no column for labels."""
    return TABLES if columns.label is not None else {**TABLES, TEXT_ENDING: _read_txt}


def endings_read(columns: Columns) -> str:
    """Say which files are read."""
    return f"files that end in {', '.join(readers(columns))} are"
