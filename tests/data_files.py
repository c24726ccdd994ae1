"""Writes the same rows in every form that is read."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conftest import write_jsonl

Rows = list[dict[str, Any]]


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write the files into `folder`, by their names in it; return it."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def write_json(file: Path, rows: Rows) -> None:
    file.write_text(json.dumps(rows), encoding="utf-8")


def write_json_object(file: Path, rows: Rows) -> None:
    file.write_text(json.dumps({"version": "1.0", "data": rows}, indent=1), encoding="utf-8")


def write_json_columns(file: Path, rows: Rows) -> None:
    file.write_text(json.dumps({name: [row[name] for row in rows] for name in rows[0]}), encoding="utf-8")


def csv_writer(delimiter: str, encoding: str = "utf-8") -> Callable[[Path, Rows], None]:
    def write(file: Path, rows: Rows) -> None:
        with file.open("w", encoding=encoding, newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    return write


def write_parquet(file: Path, rows: Rows) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)


def arrow_writer(form: str) -> Callable[[Path, Rows], None]:
    def write(file: Path, rows: Rows) -> None:
        import pyarrow

        table = pyarrow.Table.from_pylist(rows)
        opened = pyarrow.ipc.new_file if form == "file" else pyarrow.ipc.new_stream
        with pyarrow.OSFile(str(file), "wb") as sink, opened(sink, table.schema) as writer:
            writer.write_table(table)

    return write


Form = tuple[str, Callable[[Path, Rows], None]]  # a file's ending, and what writes it

FORMS: dict[str, Form] = {
    "JSON lines": (".jsonl", write_jsonl),
    "NDJSON": (".ndjson", write_jsonl),
    "JSON lines called JSON": (".json", write_jsonl),
    "JSON list": (".json", write_json),
    "JSON object": (".json", write_json_object),
    "JSON columns": (".json", write_json_columns),
    "CSV": (".csv", csv_writer(",")),
    "CSV with semicolons": (".csv", csv_writer(";")),
    "CSV with bars": (".csv", csv_writer("|")),
    "CSV with tabs": (".csv", csv_writer("\t")),
    "CSV with a byte order mark": (".csv", csv_writer(",", "utf-8-sig")),
    "TSV": (".tsv", csv_writer("\t")),
    "Parquet": (".parquet", write_parquet),
    "Arrow file": (".arrow", arrow_writer("file")),
    "Arrow stream": (".arrow", arrow_writer("stream")),
}


def numbered_rows(labels: Sequence[Any], count: int = 20) -> Rows:
    return [{"text": f"text {i}", "label": labels[i % len(labels)]} for i in range(count)]
