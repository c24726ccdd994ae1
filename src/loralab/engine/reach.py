"""Which tokens attend to which: what a mask says, in the form that is cheapest to follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True)
class Reach:
    """Which tokens the tokens of a batch attend to."""

    causal: bool  # to none after them
    bias: torch.Tensor | None  # (batch, 1 or heads, 1 or tokens, tokens), added to the scores; None: to all others


def reach(mask: torch.Tensor | None, causal: bool, dtype: torch.dtype) -> Reach:
    """Return what `mask` says, (batch, 1 or heads, 1 or tokens, tokens) and true where one attends.

    Without a mask, `causal` says all. What padding behind a text attends to is left open: nobody looks at it.
    """
    return Reach(causal, None) if mask is None else _read(mask, dtype)


def forget() -> None:
    """Let go of the masks that were read last: they would count in the next phase's memory."""
    _read.cache_clear()


@lru_cache(maxsize=2)  # all layers are given the same one, or take turns with two: windows, and the whole text
def _read(mask: torch.Tensor, dtype: torch.dtype) -> Reach:
    tokens = mask.shape[-1]
    whole = mask.expand(-1, -1, tokens, -1)
    real = whole[:, :1, -1:]  # (batch, 1, 1, tokens): the last token, itself padding or not, attends to every real one
    if torch.equal(whole, real.expand_as(whole)):
        return Reach(False, None if real.all() else _bias(real, dtype))
    ends = real.sum(dim=-1, keepdim=True)
    is_behind = torch.equal(real, torch.arange(tokens) < ends)
    if is_behind and torch.equal(whole, real.expand_as(whole).tril()):
        return Reach(True, None)  # no real token comes after padding
    return Reach(False, _bias(mask, dtype))


def _bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
