"""An experiment's texts are tokenised once: the first trial keeps the tokens in the results folder for the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loralab.data import AnyData
from loralab.experiment import Conditions
from loralab.pretrained import load_tokenizer
from loralab.tasks import Task
from loralab.tasks.example_files import read_examples, write_examples
from loralab.tasks.examples import Examples
from loralab.writing import draft_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenised(task: Task, data: AnyData, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Mapping[str, Examples]:
    """Return every split and set of `data` in tokens, from the results folder `folder` where they stand there.

    What they are kept under is a hash of all that they depend on: data, task, tokenizer and versions. A file that can't
    be read is made anew, and one that can't be written is done without.
    """
    file = _file(folder, task, data, tokenizer)
    if file is None:
        return task.examples(data, tokenizer)
    from safetensors import SafetensorError

    with suppress(OSError, SafetensorError, KeyError, ValueError, TypeError):
        return read_examples(file)
    splits = task.examples(data, tokenizer)
    with suppress(OSError, SafetensorError), draft_of(file) as draft:
        write_examples(draft, splits)
    return splits


def keep_tokens(conditions: Conditions, folder: Path) -> None:
    """Keep the tokens of an experiment's texts in `folder`, for whatever is carried out there. Raises UserError."""
    tokenised(conditions.task, conditions.task.read(), load_tokenizer(conditions.model), folder)


def _file(folder: Path, task: Task, data: AnyData, tokenizer: Any) -> Path | None:
    """Return where the tokens belong, or None where nothing tells one tokenizer from another."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # one that is written in Python
        return None
    backend.no_truncation()  # what the last call asked for stays set, and is no part of the tokenizer
    backend.no_padding()
    digest = hashlib.sha256()
    versions = [version(package) for package in ("loralab", "tokenizers", "transformers")]
    cuts = (tokenizer.model_max_length, tokenizer.truncation_side, tokenizer.split_special_tokens)
    settings = (tokenizer.special_tokens_map, tokenizer.model_input_names, cuts)
    for part in (data.sha256, task.model_dump_json(), backend.to_str(), settings, versions):
        digest.update(f"{part}\n".encode())
    return folder / "tokens" / f"{digest.hexdigest()[:32]}.safetensors"
