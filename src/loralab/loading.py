"""Loading what a trial saved, by the lines that the report prints."""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from loralab.errors import UserError
from loralab.results import Measurement

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What the tasks write: nothing else is carried out, since the folder may come from anybody.
_PACKAGES = ("transformers", "peft")
_ARGUMENTS = ("num_labels", "id2label", "label2id", "dtype", "pad_token_id")


def load_saved(measurement: Measurement, folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return the model of a trial, on the best device and with dropout off, and its tokenizer.

    They are loaded from the results folder `folder` by the lines that the report prints. Raises UserError for lines
    that do anything else, and whatever the libraries raise.
    """
    from accelerate import PartialState

    assert measurement.saved is not None
    code = _loading_alone(measurement.saved.loading, folder / measurement.saved.folder, measurement.trial.id)
    found: dict[str, Any] = {}
    exec(code, found)
    return found["model"].to(PartialState().device).eval(), found["tokenizer"]


def _loading_alone(lines: str, model_folder: Path, trial_id: str) -> CodeType:
    """Compile `lines` with the model's whole path, code of the model's own declined: transformers would ask for it."""
    refused = UserError(
        f"trials/{trial_id}.json: its lines do more than load a model, and were not carried out\n"
        "  remove the file and run the experiment again"
    )
    try:
        tree = ast.parse(lines)
    except (SyntaxError, ValueError):
        raise refused from None
    for statement in tree.body:
        match statement:
            case ast.ImportFrom(module=module, names=names, level=0) if module in _PACKAGES:
                if not all(name.name.startswith("Auto") for name in names):
                    raise refused
            case ast.Assign(
                targets=[ast.Name()], value=ast.Call(func=ast.Attribute(ast.Name(), "from_pretrained")) as call
            ):
                if not all(argument.arg in _ARGUMENTS and _is_literal(argument.value) for argument in call.keywords):
                    raise refused
                call.args = [ast.Constant(str(model_folder))]
                call.keywords.append(ast.keyword("trust_remote_code", ast.Constant(value=False)))
            case _:
                raise refused
    return compile(ast.fix_missing_locations(tree), "<loading>", "exec")


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError):
        return False
    return True
