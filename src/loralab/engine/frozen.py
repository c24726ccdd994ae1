"""Frozen weights held in bfloat16 for the time of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loralab.memory import NoRoomError, memory_told_as, release_memory
from loralab.methods import BitFit, HeadOnly, Lora, Method, Untouched

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def frozen_weights_light(
    network: nn.Module, method: Method | Untouched, precision: str, anew: Callable[[], nn.Module] | None
) -> Iterator[None]:
    """Hold the matrices that are frozen in bfloat16 inside, where training computes in it, and as they were outside.

    Autocast rounds every weight to bfloat16 before it multiplies, and a frozen one again in every pass: here it is
    rounded once, to the same bits, and takes half the memory. Afterwards the whole weights come from `anew`, which
    builds the network as the trial began with it, on whatever device, since rounding can't be undone; without it they
    stay as they are.
    """
    light = _lighten(network) if precision == "bfloat16" and _multiplies_alone(method) else []
    if not light:
        yield
        return
    release_memory()
    yield
    if anew is None:
        return
    release_memory()
    told = "training fitted, but not the model's whole weights beside it afterwards"
    with memory_told_as(lambda _: NoRoomError(told)):
        _restore(list(network.modules()), light, list(anew().modules()))


@dataclass(frozen=True)
class _Light:
    """A layer whose weight was rounded."""

    place: int  # among the network's modules
    shared: Any  # the whole weight, a parameter, where an embedding keeps it; else None


def _multiplies_alone(method: Method | Untouched) -> bool:
    """Tell whether the method does nothing with a frozen matrix but multiply by it; DoRA takes its columns' lengths."""
    return isinstance(method, BitFit | HeadOnly) or (isinstance(method, Lora) and not method.dora)


def _lighten(network: nn.Module) -> list[_Light]:
    """Round the frozen matrices of linear layers, and tell which."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    # What is looked up isn't rounded by autocast. A language model's output often shares it: that gets a copy.
    looked_up = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    light = []
    for place, layer in enumerate(network.modules()):
        if not isinstance(layer, nn.Linear | Conv1D) or layer.weight.requires_grad:
            continue
        shared = layer.weight if id(layer.weight) in looked_up else None
        rounded = layer.weight.detach().to(torch.bfloat16)
        if shared is None:
            layer.weight.data = rounded  # in place, for layers that share it
        else:
            layer.weight = nn.Parameter(rounded, requires_grad=False)
        light.append(_Light(place, shared))
    return light


def _restore(modules: list[Any], light: list[_Light], fresh: list[Any]) -> None:
    """Give the layers their whole weights back; one that moved stays so, for the check of frozen weights to find."""
    import torch

    for one in light:
        layer = modules[one.place]
        whole = fresh[one.place].weight.to(layer.weight.device)
        if not torch.equal(layer.weight, whole.to(layer.weight.dtype)):
            layer.weight.data = layer.weight.data.float()
        elif one.shared is None:
            layer.weight.data = whole.data
        else:
            layer.weight = one.shared
