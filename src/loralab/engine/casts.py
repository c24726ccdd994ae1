"""Activations rounded once for all the layers that read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


@contextmanager
def inputs_cast_once(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Under autocast, let linear layers that are given the very same tensor share what it is rounded to.

    Autocast keeps what it rounded of weights, but not of activations: the queries, keys and values of one attention
    would each have a copy of their own, and in training keep it.
    """
    last = _Last()
    with ExitStack() as stack:
        for module in network.modules() if device.type == "cpu" else ():
            if isinstance(getattr(module, "base_layer", module), nn.Linear | Conv1D):
                stack.callback(module.register_forward_pre_hook(last.before).remove)
        yield


class _Last:
    """The tensor that was rounded last, and what became of it."""

    def __init__(self) -> None:
        self._given: torch.Tensor | None = None
        self._version = 0  # raised where a tensor is written to
        self._rounded: torch.Tensor | None = None

    def before(self, _: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Replace what a layer is given."""
        if not torch.is_autocast_enabled("cpu") or not given or given[0].dtype != torch.float32:
            return None
        if given[0].is_inference():  # it has no version that would tell whether it was written to
            return None
        x: torch.Tensor = given[0]
        if x is not self._given or x._version != self._version:
            self._given, self._version, self._rounded = x, x._version, x.to(torch.get_autocast_dtype("cpu"))
        return (self._rounded, *given[1:])
