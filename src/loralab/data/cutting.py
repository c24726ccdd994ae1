"""Where one document ends and the next begins: WikiText's articles among lines, the paragraphs of a plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

from loralab.data.documents import Documents

# ' = Title = ' is an article's heading, ' = = Section = = ' is not. The hub's rows keep the line end.
_HEADING = re.compile(r" = (?!= )\S(?:.*\S)?(?<! =) = ?\n?")


def headings(lines: Sequence[str]) -> list[int]:
    """Return the places of the lines that are headings of articles, as WikiText writes them.

    They stand between blank lines: a formula that WikiText broke at its signs may leave a line ' = 1 rad / s = ' inside
    a paragraph. Only where the blank lines have been taken out of a text is every such line a heading.
    """
    has_text = [not _is_blank(line) for line in lines]
    are_spaced = sum(is_text for is_text, _ in groupby(has_text)) > 1
    return [
        place
        for place, line in enumerate(lines)
        if _HEADING.fullmatch(line) and not (are_spaced and _touches_text(place, has_text))
    ]


def articles(rows: Documents, starts: Sequence[int]) -> Documents:
    """Join lines to documents: one begins at each of `starts`, and what stands before them is one if it has text."""
    has_opening = any(not _is_blank(line) for line in rows.texts[: starts[0]])
    bounds = [*([0] if has_opening else []), *starts, len(rows)]
    return Documents(
        ids=tuple(rows.ids[start] for start in bounds[:-1]),
        texts=tuple(
            "\n".join(line.removesuffix("\n") for line in rows.texts[start:end]) for start, end in pairwise(bounds)
        ),
    )


def rows_of_text(text: str) -> list[str]:
    """Return the rows of a plain text: WikiText's lines, or the paragraphs between blank lines, or else the lines."""
    lines = text.removesuffix("\n").split("\n")  # not splitlines(), which cuts at characters inside lines, too
    if headings(lines):
        return lines
    paragraphs = [list(found) for blank, found in groupby(lines, _is_blank) if not blank]
    return paragraphs[0] if len(paragraphs) == 1 else ["\n".join(paragraph) for paragraph in paragraphs]


def _is_blank(line: str) -> bool:
    return not line.strip()


def _touches_text(place: int, has_text: Sequence[bool]) -> bool:
    return any(has_text[max(place - 1, 0) : place]) or any(has_text[place + 1 : place + 2])
