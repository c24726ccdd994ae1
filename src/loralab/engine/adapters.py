"""LoRA's layers without needless copies: of their input in training, and of everything in evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import torch
from peft.tuners.lora import Linear
from torch import nn
from transformers.pytorch_utils import Conv1D

from loralab.autograd import applied, once
from loralab.engine.dropout import Drops
from loralab.engine.modules import computing
from loralab.memory import NoRoomError, memory_told_as, release_memory


@contextmanager
def adapters_in_one(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Compute plain LoRA layers in one step inside: W x + s B A x with the gradients of A, B and x alone.

    PEFT's layer (0.21) casts its input to float32 and keeps it, what is left of it after dropout, and the mask. Other
    kinds of adapters stay as PEFT has them.
    """
    layers = _plain_layers(network) if device.type == "cpu" else []
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(computing(layer, partial(_forward, layer)))
        yield


@contextmanager
def adapters_merged(network: nn.Module) -> Iterator[None]:
    """Compute plain LoRA layers as the one matrix W + s B A inside, for evaluation.

    It is thrown away: taking B A off again would not give the bits of W back. Where there is no room for both, layers
    stay as PEFT has them, which takes longer and gives the same.
    """
    with ExitStack() as stack:
        try:
            with memory_told_as(NoRoomError):
                for layer in _plain_layers(network):
                    stack.enter_context(_merged(layer))
        except NoRoomError:
            stack.close()
            release_memory()
        yield


@contextmanager
def _merged(layer: Any) -> Iterator[None]:
    whole = layer.base_layer.weight
    merged = whole + layer.get_delta_weight(*layer.lora_A)
    layer.base_layer.weight = nn.Parameter(merged.detach(), requires_grad=False)
    try:
        with computing(layer, layer.base_layer.forward):
            yield
    finally:
        layer.base_layer.weight = whole


def _plain_layers(network: nn.Module) -> list[Any]:
    return [module for module in network.modules() if _is_plain(module)]


def _is_plain(module: nn.Module) -> bool:
    """Tell whether the layer is a frozen matrix with one adapter of two matrices."""
    if not isinstance(module, Linear) or module.active_adapters != list(module.lora_A) or len(module.lora_A) != 1:
        return False
    (name,) = module.lora_A
    base = module.base_layer
    return (
        isinstance(base, nn.Linear | Conv1D)
        and not any(weight.requires_grad for weight in base.parameters())
        and name not in module.lora_variant
        and not module.lora_bias[name]
        and isinstance(module.lora_dropout[name], nn.Dropout | nn.Identity)
    )


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    if layer.disable_adapters or layer.merged:
        return cast(torch.Tensor, layer.base_layer(x))
    (name,) = layer.lora_A
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    base, dropout = layer.base_layer, layer.lora_dropout[name]
    weight = base.weight.T if isinstance(base, Conv1D) else base.weight
    rate = dropout.p if isinstance(dropout, nn.Dropout) and layer.training else 0.0
    parts: tuple[Any, ...] = (x, weight, base.bias, a, b)
    if torch.is_autocast_enabled("cpu"):
        lower = torch.get_autocast_dtype("cpu")
        parts = tuple(None if part is None else part.to(lower) for part in parts)
    return applied(_Adapted, *parts, layer.scaling[name], rate)


class _Adapted(torch.autograd.Function):
    """x W' + bias + s (x A') B' with a frozen W; x: (..., in), W: (out, in), A: (rank, in), B: (out, rank)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
        rate: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        drops = Drops.draw(rate) if rate else None
        low = (drops.of(rows) if drops else rows) @ a.T
        with torch.autocast("cpu", enabled=False):
            out = nn.functional.linear(rows, weight, bias).addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, low)
        ctx.scale, ctx.drops = scale, drops
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Any) -> Any:
        rows, weight, a, b, low = ctx.saved_tensors
        upstream = gradients[0].reshape(-1, gradients[0].shape[-1])
        into_low = (upstream @ b).mul_(ctx.scale)
        of_b = (upstream.T @ low).mul_(ctx.scale)
        of_a = into_low.T @ (ctx.drops.of(rows) if ctx.drops else rows)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = upstream @ weight
            if ctx.drops:
                of_x.add_(ctx.drops.of(into_low @ a))
            else:
                of_x.addmm_(into_low, a)
            of_x = of_x.view(*gradients[0].shape[:-1], -1)
        return of_x, None, None, of_a, of_b, None, None
