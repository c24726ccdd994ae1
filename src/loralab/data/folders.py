"""A folder -> its splits: files or folders named after splits, one file a class, or a folder of text files a class.

Where nothing is labelled, a text file named after a split is that split, and files of other names are documents.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from loralab.data.formats import TABLES, TEXT_ENDING, endings_read, read_file, read_text
from loralab.data.records import Columns, Reader, Records, Table, first_few, gather, joined, numbered
from loralab.data.splits import SPLITS, looks_like
from loralab.data.texts import with_plain_line_ends
from loralab.errors import UserError

WHOLE = "train"  # what the rows of a source without splits are called

_SHARD = re.compile(r"-\d+-of-(?P<count>\d+)(-[0-9a-f]+)?$")  # as in 'train-00000-of-00002'
# What `datasets`, or a person, writes beside the rows.
_DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_NOTES = ("readme.txt", "license.txt")
_UNLABELLED = "unsup"  # aclImdb's reviews without a label lie between its two classes


def find_in_folder(folder: Path, names: Collection[str], columns: Columns) -> Mapping[str, Reader]:
    """Return how to read each split that lies in `folder`, or all of it as one split, `WHOLE`, where there are none.

    `names` are what splits may be called. Raises UserError where nothing there can be read.
    """
    tables, texts, folders = _tables(folder), _loose_texts(folder, columns), _folders(folder)
    groups = _groups([*tables, *texts], names)
    if not groups.keys().isdisjoint(names):
        return {name: partial(_read_group, name, group, columns) for name, group in groups.items()}
    if not folders.keys().isdisjoint(names):
        return {name: partial(_read_split_folder, inner, columns) for name, inner in folders.items()}
    if tables:
        groups = _groups(tables, names)
        _refuse_misnamed_splits(folder, groups)
        return {WHOLE: partial(_read_class_files, folder, groups, columns)}
    if "data" in folders:  # where a repository on the hub keeps its files
        return find_in_folder(folders["data"], names, columns)
    if _has_class_folders(folder):
        _refuse_mixed_splits(folder, folders)
        return {WHOLE: partial(_read_class_folders, folder, columns)}
    if texts:
        _refuse_misnamed_splits(folder, groups)
        return find_in_file(texts[0], columns) if len(texts) == 1 else {WHOLE: partial(_read_texts, texts, columns)}
    raise _nothing_readable(folder, columns)


def find_in_file(file: Path, columns: Columns) -> Mapping[str, Reader]:
    """Return how to read a single file as one split, `WHOLE`."""
    return {WHOLE: lambda: numbered(written(file.stem), read_file(file, columns))}


def written(name: str) -> str:
    """Return a file's name as text: bytes of another encoding, which no file of results could hold, as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def inner_folder(folder: Path, configuration: str) -> Path:
    """Return the folder called `configuration` inside `folder`. Raises UserError, which lists those there."""
    folders = _folders(folder)
    if configuration not in folders:
        there = ", ".join(folders) or "none"
        raise UserError(f"data.configuration: {folder} has no folder {configuration!r}; its folders are: {there}")
    return folders[configuration]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} can't be read: {error.strerror}") from None


def _tables(folder: Path) -> list[Path]:
    return [
        path
        for path in _listed(folder)
        if path.suffix.lower() in TABLES
        and path.is_file()
        and path.name not in _DESCRIPTIONS
        and not (path.suffix == ".arrow" and path.name.startswith("cache-"))  # what `datasets` computed from the rows
    ]


def _folders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in _listed(folder) if path.is_dir()}


def _text_files(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.suffix.lower() == TEXT_ENDING and path.is_file()]


def _loose_texts(folder: Path, columns: Columns) -> list[Path]:
    """Return the text files that are read where nothing is labelled: else there is nothing to label them with."""
    return (
        [] if columns.label is not None else [path for path in _text_files(folder) if path.name.lower() not in _NOTES]
    )


def _has_class_folders(folder: Path) -> bool:
    return any(_text_files(inner) for inner in _folders(folder).values())


def _groups(files: Sequence[Path], names: Collection[str]) -> dict[str, list[Path]]:
    """Return the files by name, the numbered parts of one table together."""
    groups = defaultdict(list)
    for file in files:
        groups[file.stem if file.stem in names else _SHARD.sub("", file.stem)].append(file)
    return dict(groups)


def _read_group(name: str, files: Sequence[Path], columns: Columns) -> Records:
    """Read one file, or all numbered parts of one table."""
    first = files[0]
    shard = _SHARD.search(first.stem)
    expected = int(shard["count"]) if shard else 1
    if len({(file.suffix, _SHARD.search(file.stem) is None) for file in files}) > 1 or len(files) > expected:
        raise UserError(f"{first.parent}: {name!r} has several files, {_names(files)}; keep the one that is meant")
    if len(files) < expected:
        raise UserError(f"{first.parent}: {name!r} has {len(files)} of its {expected} parts: {_names(files)}")
    tables = gather(str(first.parent), [partial(read_file, file, columns) for file in files])
    return numbered(written(name), Table([row for table in tables for row in table.rows], tables[0].class_names))


def _read_split_folder(folder: Path, columns: Columns) -> Records:
    tables, texts = _tables(folder), _loose_texts(folder, columns)
    if tables:
        whole = joined(_read_groups(folder, _groups(tables, names=()), columns))
        return numbered(folder.name, Table(whole.rows, whole.class_names))
    if texts and not _has_class_folders(folder):
        return _read_texts(texts, columns, f"{folder.name}/")
    return _read_class_folders(folder, columns, f"{folder.name}/")


def _read_groups(folder: Path, groups: Mapping[str, Sequence[Path]], columns: Columns) -> list[Records]:
    return gather(str(folder), [partial(_read_group, name, files, columns) for name, files in groups.items()])


def _read_class_files(folder: Path, groups: Mapping[str, Sequence[Path]], columns: Columns) -> Records:
    """Read all files; where there are several, rows of a file without labels are labelled with the file's name."""
    parts = _read_groups(folder, groups, columns)
    if len(parts) == 1:
        return parts[0]
    return joined([_labelled(part, columns.label, name) for name, part in zip(groups, parts, strict=True)])


def _labelled(part: Records, column: str | None, name: str) -> Records:
    if column is None or any(row.get(column) is not None for row in part.rows):
        return part
    return Records(part.ids, [{**row, column: written(name)} for row in part.rows], part.class_names)


def _read_class_folders(folder: Path, columns: Columns, prefix: str = "") -> Records:
    """Read the text files in the folders inside `folder`; a text's label is its folder's name, its id its path."""
    classes = {
        name: files
        for name, inner in _folders(folder).items()
        if (files := _text_files(inner)) and (name != _UNLABELLED or columns.label is None)
    }
    if not classes:
        raise _nothing_readable(folder, columns)
    calls = [partial(_read_texts, files, columns, f"{prefix}{name}/") for name, files in classes.items()]
    parts = gather(str(folder), calls)
    return joined([_labelled(part, columns.label, name) for name, part in zip(classes, parts, strict=True)])


def _read_texts(files: Sequence[Path], columns: Columns, prefix: str = "") -> Records:
    """Read each text file as one row; its id is its name behind `prefix`."""
    texts = gather(str(files[0].parent), [partial(read_text, file) for file in files])
    if columns.label is None:
        texts = [with_plain_line_ends(text) for text in texts]
    return Records([written(f"{prefix}{file.name}") for file in files], [{columns.texts[0]: text} for text in texts])


def _refuse_misnamed_splits(folder: Path, groups: Collection[str]) -> None:
    """Rows to train on and rows to test on must not be mixed because their files have names of their own."""
    split = next((name for name in groups if any(looks_like(split, name) for split in SPLITS)), None)
    if split is not None:
        raise _misnamed(folder, split, groups)


def _refuse_mixed_splits(folder: Path, classes: Collection[str]) -> None:
    """A folder may be a class called 'test', but not beside one that looks like train."""
    tested = next((name for name in classes if looks_like("test", name)), None)
    if tested is not None and any(looks_like("train", name) for name in classes):
        raise _misnamed(folder, tested, classes)


def _misnamed(folder: Path, split: str, there: Collection[str]) -> UserError:
    listed = ", ".join(first_few(list(there), "entries"))
    return UserError(
        f"{folder}: {split!r} is the name of a split, but not one that is looked for; "
        f"name it, for example with data.splits.train (there are {listed})"
    )


def _nothing_readable(folder: Path, columns: Columns) -> UserError:
    there = ", ".join(first_few([path.name for path in _listed(folder)], "entries")) or "nothing"
    folders = "folders of .txt files" + (", one folder a class" if columns.label is not None else "")
    return UserError(
        f"{folder}: holds nothing that can be read (it holds {there}); {endings_read(columns)}, and {folders}; "
        "a folder inside is named with data.configuration"
    )


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files)
