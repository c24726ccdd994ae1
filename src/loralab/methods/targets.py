"""Which linear layers an adapter goes on: by roles such as `attention`, or by the ends of layers' names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loralab.errors import UserError
from loralab.methods.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from loralab.pretrained import Loaded

ALL_LINEAR = "all-linear"
OUTPUT = "output"  # the layer of a language model that scores every token of the vocabulary
_COMPOSED = {
    "attention": ("query", "value"),  # the choice of Hu et al. 2021, section 4.2
    ALL_LINEAR: ("query", "key", "value", "projection", "feed-forward"),
}
ROLES = ("attention", "query", "key", "value", "projection", "feed-forward", OUTPUT, ALL_LINEAR)
_SECOND_NAMES = {"output-projection": "projection"}


def target_modules(loaded: Loaded, targets: tuple[str, ...]) -> list[str]:
    """Return the full names of the linear layers that `targets` mean, in the network's order.

    A target is a role, or the end of a layer's name. Where an architecture computes query, key and value in one layer
    (GPT-2, GPT-NeoX, Phi-3, ModernBERT, DeBERTa v1), each of these roles, and `attention`, means that layer. In an
    architecture that loralab has no names for, `all-linear` is every linear layer outside the head. A language model's
    output layer is meant by `output` or by its own name alone.

    The head is never among them: it is trained whole, and PEFT can't wrap a layer that is saved whole (peft 0.21 raises
    TypeError). Raises UserError naming the layers to choose from.
    """
    linear = _linear_layers(loaded)
    found: set[str] = set()
    for target in targets:
        found |= _matched(_SECOND_NAMES.get(target, target), loaded, linear)
    return [name for name in linear if name in found]


def output_layer(loaded: Loaded) -> str | None:
    """Return the full name of the layer that scores the vocabulary, or None where the network has none."""
    layer = loaded.network.get_output_embeddings()
    names = (name for name, module in loaded.network.named_modules() if module is layer)
    return None if layer is None else next(names, None)


def _matched(target: str, loaded: Loaded, linear: list[str]) -> set[str]:
    model_type, output = loaded.network.config.model_type, output_layer(loaded)
    if target == OUTPUT:
        if output not in linear:
            raise UserError(
                f"method.targets: this {model_type} model has no layer {OUTPUT!r}, which scores the vocabulary of a "
                "language model; leave it out"
            )
        return {output}
    pattern = re.compile(rf"(?:^|\.)(?:{'|'.join(_patterns(target, model_type))})$")
    inner = set(linear) - ({output} if target == ALL_LINEAR else set())
    matched = {name for name in inner if pattern.search(name)}
    if not matched:
        raise _no_such_target(target, model_type, linear)
    return matched


def _patterns(target: str, model_type: str) -> tuple[str, ...]:
    if target not in ROLES:
        return (re.escape(target),)
    if model_type not in ARCHITECTURES:
        return (r".+",) if target == ALL_LINEAR else (r"(?!)",)  # the latter matches nothing
    layers = ARCHITECTURES[model_type]
    return tuple(pattern for role in _COMPOSED.get(target, (target,)) for pattern in layers[role])


def _no_such_target(target: str, model_type: str, linear: list[str]) -> UserError:
    problem = (
        f"which layers are {target!r} is not known for a {model_type} model; name them, or take {ALL_LINEAR!r}"
        if target in ROLES
        else f"{target!r} is neither a role nor a linear layer of this {model_type} model"
    )
    layers = sorted({re.sub(r"^.*\.\d+\.", "", name) for name in linear})
    return UserError(f"method.targets: {problem}\n  its layers: {', '.join(layers)}\n  roles: {', '.join(ROLES)}")


def _linear_layers(loaded: Loaded) -> list[str]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, with its weight transposed

    return [
        name
        for name, module in loaded.network.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and f"{name}.weight" not in loaded.head
    ]
