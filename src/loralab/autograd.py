"""Gradients of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    import torch

Backward = Callable[..., Any]


def applied(function: type[torch.autograd.Function], *given: Any) -> torch.Tensor:
    """Return what a function with a gradient of its own makes of what is `given`."""
    made: torch.Tensor = function.apply(*given)  # type: ignore[no-untyped-call]  # torch (2.13) gives it no types
    return made


def once(backward: Backward) -> Backward:
    """Let a gradient of our own refuse to be differentiated again: it takes for constant what it computed before."""
    refusing: Backward = once_differentiable(backward)
    return refusing
