"""Wrapping a network with PEFT."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from loralab.pretrained import Loaded


@contextmanager
def known_warnings_ignored() -> Iterator[None]:
    """Keep out what PEFT says of adapters that are sound."""
    with warnings.catch_warnings():
        # GPT-2 mixes Conv1D and Linear layers: PEFT 0.21 turns the flag for each and warns; the result is right.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        # Only the output layer is to be adapted; `ensure_weight_tying` would put an adapter on the input too.
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True` and a tied layer is part of")
        # PEFT 0.21 asks transformers 5.23 by a name that is on its way out.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


def wrap(loaded: Loaded, config: PeftConfig) -> PeftModel:
    """Wrap the network as `config` says; only the adapter and `modules_to_save` are trainable then."""
    from peft import get_peft_model

    with known_warnings_ignored():
        return get_peft_model(loaded.network, config)
