"""Pretrained models: from the name in an experiment file to a folder, its configuration, and a loaded network."""

from loralab.pretrained.loading import load_model, load_tokenizer, text_start
from loralab.pretrained.locating import (
    PACKAGE_SCHEME,
    PACKAGED,
    UNKNOWN_REVISION,
    PackagedModel,
    is_on_hub,
    locate,
    revision,
)
from loralab.pretrained.networks import (
    Loaded,
    context_length,
    head_modules,
    most_positions,
    parts_of,
    reads_last_token,
)

__all__ = [
    "PACKAGED",
    "PACKAGE_SCHEME",
    "UNKNOWN_REVISION",
    "Loaded",
    "PackagedModel",
    "context_length",
    "head_modules",
    "is_on_hub",
    "load_model",
    "load_tokenizer",
    "locate",
    "most_positions",
    "parts_of",
    "reads_last_token",
    "revision",
    "text_start",
]
