"""The Python lines that load a saved model."""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    """Write `text` as Python does, readable where it can be printed; a folder's name may hold any sign."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def whole_model_lines(auto_class: str, folder: str) -> str:
    """Return the lines that load a whole model and its tokenizer from `folder`."""
    return (
        f"from transformers import {auto_class}, AutoTokenizer\n"
        f"model = {auto_class}.from_pretrained({quoted(folder)})\n{tokenizer_line(folder)}"
    )


def tokenizer_line(folder: str) -> str:
    """Return the line that loads the tokenizer beside a model."""
    return f"tokenizer = AutoTokenizer.from_pretrained({quoted(folder)})"


def loaded_from(lines: str, folder: str, other: str) -> str:
    """Return `lines` that load from `folder` as such that load from `other`."""
    pieces = lines.split("from_pretrained(")
    return "from_pretrained(".join(
        [pieces[0], *(piece.replace(quoted(folder), quoted(other), 1) for piece in pieces[1:])]
    )
