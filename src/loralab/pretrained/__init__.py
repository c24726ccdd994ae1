"""Pretrained models: from the name in an experiment file to a folder, its configuration, and a loaded network."""

from loralab.pretrained.loading import load_model, load_tokenizer, text_start, transformers_quiet
from loralab.pretrained.locating import (
    PACKAGE_SCHEME,
    PACKAGED,
    UNKNOWN_REVISION,
    PackagedModel,
    are_others,
    is_on_hub,
    locate,
    revision,
    revisions,
    tokenizer_revision,
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
    "are_others",
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
    "revisions",
    "text_start",
    "tokenizer_revision",
    "transformers_quiet",
]
