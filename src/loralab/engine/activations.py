"""Activations that a library writes out in many steps, in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loralab.engine.modules import replace_modules

if TYPE_CHECKING:
    from torch import nn


def fuse_activations(network: nn.Module) -> None:
    """Put torch's own tanh approximation of GELU in the place of what transformers (5.23) computes step by step.

    GPT-2 and Phi use it. Written out it takes eight passes over the widest layer's output and their gradients, five
    times as long; the two differ by rounding. It has no weights, so that nothing of it is saved.
    """
    from torch import nn
    from transformers.activations import FastGELUActivation, NewGELUActivation

    written_out = FastGELUActivation | NewGELUActivation
    replace_modules(network, lambda one: nn.GELU(approximate="tanh") if isinstance(one, written_out) else None)
