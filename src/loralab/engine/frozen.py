"""Frozen weights held in bfloat16 for the time of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loralab.memory import release_memory
from loralab.methods import BitFit, HeadOnly, Lora, Method, Untouched

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def frozen_weights_light(
    network: nn.Module, method: Method | Untouched, precision: str, anew: Callable[[], nn.Module]
) -> Iterator[None]:
    """Hold the matrices that are frozen in bfloat16 inside, where training computes in it, and as they were outside.

    Autocast rounds every weight to bfloat16 before it multiplies, and a frozen one again in every pass: here it is
    rounded once, to the same bits, and takes half the memory. Afterwards the frozen weights come from `anew`, which
    builds the network as the trial began with it, since rounding can't be undone.
    """
    if precision != "bfloat16" or not _multiplies_alone(method) or not _lighten(network):
        yield
        return
    release_memory()
    yield
    _restore(network, anew())


def _multiplies_alone(method: Method | Untouched) -> bool:
    """Tell whether the method does nothing with a frozen matrix but multiply by it; DoRA takes its columns' lengths."""
    return isinstance(method, BitFit | HeadOnly) or (isinstance(method, Lora) and not method.dora)


def _lighten(network: nn.Module) -> bool:
    """Round the frozen matrices of linear layers; return whether there are any."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    # What is looked up isn't rounded by autocast. A language model's output often shares it: that gets a copy.
    looked_up = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | Conv1D)]
    frozen = [layer for layer in layers if not layer.weight.requires_grad]
    for layer in frozen:
        rounded = layer.weight.detach().to(torch.bfloat16)
        if id(layer.weight) in looked_up:
            layer.weight = nn.Parameter(rounded, requires_grad=False)
        else:
            layer.weight.data = rounded  # in place, for layers that share it
    return bool(frozen)


def _restore(network: nn.Module, anew: nn.Module) -> None:
    """Give the network the frozen weights of `anew`, with what they share."""
    for module, fresh in zip(network.modules(), anew.modules(), strict=True):
        for name, weight in fresh.named_parameters(recurse=False):
            if not weight.requires_grad:
                setattr(module, name, weight)
