"""Which linear layers an adapter goes on: roles such as `attention`, told from the names each architecture uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loralab.errors import UserError

if TYPE_CHECKING:
    from loralab.pretrained import Loaded

# Patterns for the end of a layer's full name. BERT's layout serves its descendants.
_BERT = {
    "query": (r"attention\.self\.query",),
    "key": (r"attention\.self\.key",),
    "value": (r"attention\.self\.value",),
    "output-projection": (r"attention\.output\.dense",),
    "feed-forward": (r"intermediate\.dense", r"layer\.\d+\.output\.dense"),
}
_LAYERS = {
    "bert": _BERT,
    "roberta": _BERT,
    "electra": _BERT,
    "distilbert": {
        "query": (r"attention\.q_lin",),
        "key": (r"attention\.k_lin",),
        "value": (r"attention\.v_lin",),
        "output-projection": (r"attention\.out_lin",),
        "feed-forward": (r"ffn\.lin1", r"ffn\.lin2"),
    },
}
_COMPOSED = {
    "attention": ("query", "value"),  # the choice of Hu et al. 2021, section 4.2
    "all-linear": ("query", "key", "value", "output-projection", "feed-forward"),
}
ROLES = ("attention", "query", "key", "value", "output-projection", "feed-forward", "all-linear")


def target_modules(loaded: Loaded, targets: tuple[str, ...]) -> list[str]:
    """Return the full names of the linear layers that `targets` mean, in the network's order.

    A target is a role, or the end of a layer's name. The head is never among them: it is trained whole, and PEFT can't
    wrap a layer that is saved whole (peft 0.21 raises TypeError). Raises UserError naming the layers to choose from.
    """
    linear = _linear_layers(loaded)
    model_type = loaded.network.config.model_type
    found: set[str] = set()
    for target in targets:
        patterns = _patterns(target, model_type)
        matched = {name for name in linear if any(re.search(rf"(?:^|\.){pattern}$", name) for pattern in patterns)}
        if not matched:
            layers = sorted({re.sub(r"^.*\.\d+\.", "", name) for name in linear})
            raise UserError(
                f"method.targets: {target!r} is neither a role nor a linear layer of this {model_type} model\n"
                f"  its layers: {', '.join(layers)}"
            )
        found |= matched
    return [name for name in linear if name in found]


def _patterns(target: str, model_type: str) -> tuple[str, ...]:
    if target not in ROLES:
        return (re.escape(target),)
    layers = _LAYERS.get(model_type, {})
    return tuple(pattern for role in _COMPOSED.get(target, (target,)) for pattern in layers.get(role, ()))


def _linear_layers(loaded: Loaded) -> list[str]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, with its weight transposed

    return [
        name
        for name, module in loaded.network.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and f"{name}.weight" not in loaded.head
    ]
