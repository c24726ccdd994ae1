"""Tokenised splits in one file, so that every trial of an experiment needn't tokenise again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loralab.tasks.examples import Examples, Stream, Texts, Windows

_KINDS = {kind.__name__: kind for kind in (Stream, Texts, Windows)}


def write_examples(file: Path, splits: Mapping[str, Examples]) -> None:
    """Write splits by name. Raises OSError or SafetensorError where that fails."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    told = {name: _told(split, name, arrays) for name, split in splits.items()}
    save_file(arrays, file, {"splits": json.dumps(told)})


def read_examples(file: Path) -> dict[str, Examples]:
    """Return what was written. Raises OSError, SafetensorError, KeyError or ValueError where it can't be read.

    TypeError where it holds other fields than the types have now.
    """
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dictionary
        told = json.loads(opened.metadata()["splits"])
    return {name: _made(one, arrays) for name, one in told.items()}


def _told(value: Any, place: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Return what JSON can hold of `value`; its arrays go to `arrays`, by their place."""
    if isinstance(value, np.ndarray):
        arrays[place] = np.ascontiguousarray(value)
        return {"array": place}
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
        parts = {name: _told(getattr(value, name), f"{place}.{name}", arrays) for name in fields}
        return {"kind": type(value).__name__, "parts": parts}
    return value


def _made(told: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(told, list):
        return tuple(_made(one, arrays) for one in told)
    if not isinstance(told, dict):
        return told
    if "array" in told:
        return arrays[told["array"]]
    return _KINDS[told["kind"]](**{name: _made(part, arrays) for name, part in told["parts"].items()})
