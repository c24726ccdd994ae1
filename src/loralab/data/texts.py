"""Single texts: taken from a cell, freed from markup, compared."""

from __future__ import annotations

import html
import math
import re
from typing import Any

from loralab.data.rows import Text

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")  # all controls but tab and line feed
_LINE_BREAK = re.compile(r"</?br\b[^<>]*>", re.IGNORECASE)
# Known names alone: '<unk>' and '<3' are no markup.
_TAG = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|body|center|cite|code|del|div|em|font|h[1-6]|head|hr|html|i|img|ins|li|ol|p|pre|q|s"
    r"|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)


def as_text(value: Any) -> str:
    """Return a cell as text, empty where there is none. Raises TypeError for what holds several values."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # pandas writes a missing text as NaN
        return ""
    if isinstance(value, list | dict | bytes):
        raise TypeError(f"{value!r:.60} is not a text")
    return whole_characters(str(value))


def whole_characters(text: str) -> str:
    """Replace halves of characters, which a JSON file may hold after a cut ('\\ud83d') and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def printable(text: str) -> str:
    """Replace control characters, which could make a terminal do something and no XML may hold, but not line ends."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def with_plain_line_ends(text: str) -> str:
    """Turn line ends as Windows writes them into line feeds, which a tokenizer takes for something else."""
    return text.replace("\r\n", "\n")


def without_markup(text: str) -> str:
    """Turn HTML's line breaks into line breaks and its entities into characters; remove its other tags."""
    return html.unescape(_TAG.sub("", _LINE_BREAK.sub("\n", text)))  # entities last: '&lt;b&gt;' is no tag


def shortened(text: Text, longest: int) -> Text:
    """Cut each text to `longest` characters, the last of which then tells so."""
    if isinstance(text, tuple):
        first, second = text
        return _cut(first, longest), _cut(second, longest)
    return _cut(text, longest)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def comparable(text: Text) -> Text:
    """Return what two texts share that a reader would call the same: case and spaces don't count."""
    if isinstance(text, tuple):
        first, second = text
        return _plain(first), _plain(second)
    return _plain(text)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
