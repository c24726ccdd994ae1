"""The embedded corpus: docstring paragraphs of installed libraries, labelled with the library they document.

Real prose that comes with pip packages, for an experiment that needs no download. It is read from the source files with
`ast`, never by importing them. What would give the answer away is taken out: library names, module paths, links, code
and tables, and paragraphs that several libraries share. All paragraphs of one file fall into one split, and no text is
in two, so that near copies within a file can't be learnt by heart. The same installed versions give the same corpus.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from loralab.errors import UserError

SOURCE = "package:docstrings"
LIBRARIES = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "pandas": "pandas", "torch": "torch"}
ROWS = {"train": 2000, "validation": 500, "test": 1500}  # balanced over the libraries
FILES_PER_LIBRARY = 600  # more than enough paragraphs; torch alone has thousands of files
MOST_PER_FILE = 20  # no single file makes up a split
WORDS = range(12, 61)  # shorter says too little, longer is seldom one paragraph of prose
OPENING_WORDS = 6  # paragraphs of one library that open alike are copies with other parameters
REVISION = 1  # raised whenever the rules below change, so that cached paragraphs are read anew

# What a paragraph must not hold: doctests, directives, tables and underlines, fields, list items, code.
_NOT_PROSE = re.compile(r">>>|^\s*\.\. |^\s*[-=+~^*|]{3}|^\s*:\w+|\s{4,}|^\s*[-*] |::|[{}<>=\[\]|\\@#$]", re.MULTILINE)
_ROLE = re.compile(r":[\w:+-]+:`~?([^`]*)`")
_DOTTED = re.compile(r"\bhttps?:\S+|\b[A-Za-z_]\w*(?:[./]\w+)+\b(?:\(\))?")
_NAMES = re.compile(
    r"\b(?:numpy|np|scipy|sp|scikit-?learn|scikits?|sklearn|pandas|pd|py-?torch|torch\w*|aten)\b['’]?s?", re.I
)
_TIDY = [(re.compile(r"[`*]+"), ""), (re.compile(r"\s+"), " "), (re.compile(r" ([.,;:)])"), r"\1")]


def read() -> dict[str, list[Mapping[str, Any]]]:
    """Return the corpus as records with `text` and `label`, for the splits train, validation and test.

    The first call takes some seconds; its outcome is kept in the user's cache folder (or `LORALAB_CACHE`), under a name
    made from the installed versions. Raises UserError where a library is not installed.
    """
    file = _cache_file()
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(_build()), encoding="utf-8")
        draft.replace(file)
    corpus: dict[str, list[Mapping[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return corpus


def _cache_file() -> Path:
    missing = [distribution for module, distribution in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"data: the embedded corpus needs {', '.join(missing)}; run: pip install 'loralab[quickstart]'")
    versions = [f"{distribution}=={version(distribution)}" for distribution in LIBRARIES.values()]
    key = hashlib.sha256(" ".join([*versions, str(REVISION)]).encode()).hexdigest()[:16]
    folder = os.environ.get("LORALAB_CACHE") or user_cache_path("loralab")
    return Path(folder) / f"docstrings-{key}.json"


def _build() -> dict[str, list[Mapping[str, Any]]]:
    paragraphs = {library: _paragraphs_by_file(library) for library in LIBRARIES}
    keep = _told_apart(paragraphs)
    corpus: dict[str, list[Mapping[str, Any]]] = {split: [] for split in ROWS}
    for library, files in paragraphs.items():
        left = [[text for text in texts if text in keep][:MOST_PER_FILE] for texts in files.values()]
        for split, count in ROWS.items():
            texts: list[str] = []
            while len(texts) < count // len(LIBRARIES):
                texts += left.pop()
            corpus[split] += [{"text": text, "label": library} for text in texts[: count // len(LIBRARIES)]]
    return corpus


def _paragraphs_by_file(library: str) -> dict[str, list[str]]:
    spec = find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    names = [path.relative_to(root.parent).as_posix() for path in root.rglob("*.py")]
    names = [
        name for name in names if not re.search(r"(^|/)(_?tests?|conftest|test_\w+|_vendor|externals?)(/|\.py$)", name)
    ]
    names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
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


def _told_apart(paragraphs: Mapping[str, Mapping[str, Iterable[str]]]) -> set[str]:
    """Return the texts to keep: of those that open alike in one library the first, none that open alike in several."""
    first: dict[tuple[str, str], str] = {}
    for library, files in paragraphs.items():
        for texts in files.values():
            for text in texts:
                opening = " ".join(re.sub(r"[^a-z ]", "", text.lower()).split()[:OPENING_WORDS])
                first.setdefault((opening, library), text)
    libraries = Counter(opening for opening, _ in first)
    return {text for (opening, _), text in first.items() if libraries[opening] == 1}
