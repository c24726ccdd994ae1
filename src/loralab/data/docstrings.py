"""The embedded corpus: docstring paragraphs of installed libraries, labelled with the library they document.

Real prose that comes with pip packages, for an experiment that needs no download. It is read from the source files with
`ast`, never by importing them. What would give the answer away is taken out: library names, module paths, links, code
and tables, and paragraphs that several libraries share. No text is in two splits, nor are there two texts of one
library that open alike. The same installed versions give the same corpus.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from loralab.errors import UserError
from loralab.writing import write_whole

SOURCE = "package:docstrings"
LIBRARIES = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "pandas": "pandas", "torch": "torch"}
ROWS = {"train": 1250, "validation": 250, "test": 1000}  # balanced over the libraries
FILES_PER_LIBRARY = 600  # more than enough paragraphs; torch alone has thousands of files
MOST_PER_FILE = 60  # no single file makes up a library
WORDS = range(16, 46)  # shorter says too little, longer is seldom one thought and takes longer to train on
OPENING_WORDS = 6  # paragraphs of one library that open alike are copies with other parameters

# What a paragraph must not hold: doctests, directives, tables and underlines, fields, list items, code.
_NOT_PROSE = re.compile(r">>>|^\s*\.\. |^\s*[-=+~^*|]{3}|^\s*:\w+|\s{4,}|^\s*[-*] |::|[{}<>=\[\]|\\@#$]", re.MULTILINE)
_ROLE = re.compile(r":[\w:+-]+:`~?([^`]*)`")
_DOTTED = re.compile(r"\bhttps?:\S+|\b[A-Za-z_]\w*(?:[./]\w+)+\b(?:\(\))?")
_NAMES = re.compile(
    r"\b(?:np|sp|pd|aten|\w*(?:numpy|scipy|scikit|sklearn|pandas|torch)\w*(?:-learn)?)\b(?:['’]s)?", re.IGNORECASE
)
_TIDY = [(re.compile(r"[`*]+"), ""), (re.compile(r"\s+"), " "), (re.compile(r" ([.,;:)])"), r"\1")]


def read() -> dict[str, list[Mapping[str, Any]]]:
    """Return the corpus as records with `text` and `label`, for the splits train, validation and test.

    The first call takes some seconds; its outcome is kept in the user's cache folder (or `LORALAB_CACHE`), under a name
    made from the installed versions and the rules in this file. Raises UserError where a library is not installed.
    """
    file = _cache_file()
    if file.exists():
        kept: dict[str, list[Mapping[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
        return kept
    corpus = _build()
    with suppress(UserError):  # where nothing can be written, it is built each time
        write_whole(file, json.dumps(corpus))
    return corpus


def _cache_file() -> Path:
    missing = [distribution for module, distribution in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"data: the embedded corpus needs {', '.join(missing)}; run: pip install 'loralab[quickstart]'")
    versions = [f"{distribution}=={version(distribution)}" for distribution in LIBRARIES.values()]
    rules = Path(__file__).read_text(encoding="utf-8")  # changed rules must not meet paragraphs read by the old ones
    key = _hash(" ".join([*versions, rules]))[:16]
    folder = os.environ.get("LORALAB_CACHE") or user_cache_path("loralab")
    return Path(folder) / f"docstrings-{key}.json"


def _build() -> dict[str, list[Mapping[str, Any]]]:
    corpus: dict[str, list[Mapping[str, Any]]] = {split: [] for split in ROWS}
    for library, texts in _told_apart({library: _paragraphs_by_file(library) for library in LIBRARIES}).items():
        if len(texts) < sum(ROWS.values()) // len(LIBRARIES):
            raise UserError(f"data: this version of {library} has too few paragraphs of prose ({len(texts)})")
        left = sorted(texts, key=_hash)  # as good as random, and the same everywhere
        for split, count in ROWS.items():
            each = count // len(LIBRARIES)
            corpus[split] += [{"text": text, "label": library} for text in left[:each]]
            left = left[each:]
    return corpus


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _paragraphs_by_file(library: str) -> dict[str, list[str]]:
    spec = find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    names = [path.relative_to(root.parent).as_posix() for path in root.rglob("*.py")]
    names = [
        name for name in names if not re.search(r"(^|/)(_?tests?|conftest|test_\w+|_vendor|externals?)(/|\.py$)", name)
    ]
    names.sort(key=_hash)
    return {name: list(_paragraphs(root.parent / name)) for name in names[:FILES_PER_LIBRARY]}


def _paragraphs(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # templates and files for other versions of Python
        return
    for documentation in _docstrings(tree):
        for paragraph in re.split(r"\n\s*\n", documentation):
            text = clean(paragraph)
            if text is not None:
                yield text


def _docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    documentation = ast.get_docstring(node)
    if documentation:
        yield documentation
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child)


def clean(paragraph: str) -> str | None:
    """Return the paragraph as plain prose that doesn't name its library, or None where it isn't prose."""
    lines = paragraph.strip("\n").split("\n")
    # A parameter's description stands indented below its name; the first line may be less indented than the others.
    text = "\n".join(line.strip() for line in lines)
    if _NOT_PROSE.search(text):
        return None
    text = _ROLE.sub(r"\1", text)
    text = _NAMES.sub("", _DOTTED.sub("", text))
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    text = text.strip()
    is_sentence = text[:1].isupper() and text.endswith(".")
    return text if is_sentence and len(text.split()) in WORDS else None


def _told_apart(paragraphs: Mapping[str, Mapping[str, Iterable[str]]]) -> dict[str, list[str]]:
    """Return each library's texts to keep: of those that open alike the first, and none that open like another's."""
    first: dict[str, dict[str, tuple[str, str]]] = {library: {} for library in paragraphs}
    for library, files in paragraphs.items():
        for file, texts in files.items():
            for text in texts:
                opening = " ".join(re.sub(r"[^a-z ]", "", text.lower()).split()[:OPENING_WORDS])
                first[library].setdefault(opening, (file, text))
    shared = Counter(opening for openings in first.values() for opening in openings)
    kept: dict[str, list[str]] = {}
    for library, openings in first.items():
        of_file: Counter[str] = Counter()
        kept[library] = []
        for opening, (file, text) in openings.items():
            of_file[file] += 1
            if shared[opening] == 1 and of_file[file] <= MOST_PER_FILE:
                kept[library].append(text)
    return kept
