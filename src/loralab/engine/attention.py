"""Attention on a processor, a piece at a time, so that the scores never leave the cores' own memory.

PyTorch's flash attention reaches a quarter of the processor's peak there, and with dropout PyTorch leaves it and keeps
several tensors of heads x tokens x tokens for the way back. Here a piece's probabilities are computed again on the way
back (as in FlashAttention, Dao et al. 2022), and most of what causality forbids isn't computed at all.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from loralab.autograd import applied, once
from loralab.engine.dropout import Drops, Masks
from loralab.engine.reach import Reach, forget, reach

NAME = "loralab"  # among transformers' implementations of attention
SCORES = 2**19  # in a piece: in bfloat16 a megabyte, as large as what a core keeps to itself
QUERIES = 128  # tokens of a causal text that are taken together: they attend to as many keys as the last of them
BY_NAME = re.compile(r"""_attn_implementation (?:==|!=|in|not in) [^\n]*["']sdpa["']""")
UNSUPPORTED = ("softcap", "s_aux", "position_bias", "cache")


@contextmanager
def attention_in_pieces(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Let the network attend by `attend` inside, where it runs on a processor and takes its attention from outside."""
    models = [module for module in network.modules() if isinstance(module, PreTrainedModel)]
    if device.type != "cpu" or not models or not _takes_its_attention_from_outside(models[0]):
        yield
        return
    register()
    models[0].set_attn_implementation(NAME)
    try:
        yield
    finally:
        models[0].set_attn_implementation("sdpa")
        forget()


def _takes_its_attention_from_outside(model: PreTrainedModel) -> bool:
    """Return whether another implementation of attention changes how the model is computed, and nothing else."""
    if model.config._attn_implementation != "sdpa" or not model._can_set_attn_implementation():
        return False
    # Some models leave out a mask of their own unless the implementation has a name that they know (DeepSeek V3.2).
    return BY_NAME.search(inspect.getsource(sys.modules[type(model).__module__])) is None


def register() -> None:
    """Make `attend` known to transformers under NAME, with the masks that PyTorch's attention takes."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Return what `query`, (batch, heads, tokens, width), finds, as (batch, tokens, heads, width), and no weights.

    Called as transformers calls an attention function. What it doesn't support, or is slower at, is left to PyTorch's.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    if not pays(dtype, dropout) or not _is_supported(query, key, value, attention_mask, others):
        return cast(
            tuple[torch.Tensor, None],
            sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **others),
        )
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    query, key, value = (part.to(dtype) for part in (query, key, value))
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    who = reach(attention_mask, causal, dtype)
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    drops = Drops.draw(dropout) if dropout else None
    return applied(_Attention, query, key, value, who, scale, drops).transpose(1, 2).contiguous(), None


def pays(dtype: torch.dtype, dropout: float) -> bool:
    """Tell whether pieces are faster than PyTorch's: in float32 its flash attention is faster, but has no dropout."""
    return dtype != torch.float32 or dropout > 0


def _is_supported(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, others: dict[str, Any]
) -> bool:
    return (
        query.device.type == "cpu"
        and query.shape[2] == key.shape[2] > 1  # a text as a whole: no tokens kept from before
        and query.shape[3] == key.shape[3] == value.shape[3]
        and (mask is None or (mask.dtype == torch.bool and len(mask) == len(query)))
        and all(others.get(name) is None for name in UNSUPPORTED)
    )


@dataclass(frozen=True)
class _Piece:
    """Some texts' heads, and some of their tokens."""

    rows: slice  # of batch x heads
    texts: int  # in these rows
    queries: slice
    keys: int  # so many of the first
    bias: torch.Tensor | None  # (1 or texts, 1 or heads, 1 or queries, keys), added to the scores of the last keys


def _pieces(who: Reach, batch: int, heads: int, tokens: int, dtype: torch.dtype) -> list[_Piece]:
    """Return what is to be computed, in pieces of few different shapes: for each one a kernel is prepared and kept."""
    pieces = []
    for begin, end in _spans(tokens, QUERIES if who.causal else tokens):
        keys = end if who.causal else tokens
        most = SCORES // ((end - begin) * keys)
        together = _part(batch, most // heads)  # whole texts,
        of_one = heads if together > 1 else _part(heads, most)  # or some heads of one
        ahead = _ahead(end - begin, dtype) if who.causal else None
        for first in range(0, batch, together):
            texts = slice(first, first + together)
            bias = ahead if who.bias is None else who.bias[texts]
            for head in range(0, heads, of_one):
                start = first * heads + head
                rows = slice(start, start + together * of_one)
                pieces.append(_Piece(rows, together, slice(begin, end), keys, _of_heads(bias, head, of_one)))
    return pieces


def _spans(count: int, size: int) -> list[tuple[int, int]]:
    """Cut `count` into about equal parts of at most `size`."""
    parts = -(-count // size)
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


def _part(count: int, most: int) -> int:
    """Return the largest part of at most `most` into which `count` can be cut evenly."""
    return max(part for part in range(1, count + 1) if count % part == 0 and part <= max(1, most))


def _of_heads(bias: torch.Tensor | None, first: int, count: int) -> torch.Tensor | None:
    return bias if bias is None or bias.shape[1] == 1 else bias[:, first : first + count]


def _ahead(tokens: int, dtype: torch.dtype) -> torch.Tensor:
    """Return what keeps tokens from attending to those after them."""
    return torch.full((1, 1, tokens, tokens), torch.finfo(dtype).min, dtype=dtype).triu_(1)


def _probabilities(query: torch.Tensor, key: torch.Tensor, piece: _Piece, scale: float) -> torch.Tensor:
    """Return (rows, queries, keys), each query's adding up to one."""
    scores = query.new_empty(query.shape[0], query.shape[1], key.shape[1])
    torch.baddbmm(scores, query, key.transpose(1, 2), beta=0, alpha=scale, out=scores)
    if piece.bias is not None:
        by_text = scores.view(piece.texts, -1, *scores.shape[1:])
        by_text[..., -piece.bias.shape[-1] :].add_(piece.bias)
    return torch.softmax(scores, dim=-1)


def _centred(key: torch.Tensor) -> torch.Tensor:
    """Return keys without what those of a head have in common, which moves all scores of a token alike.

    Softmax doesn't notice, and so no gradient comes of it; but scores are rounded to the eight bits of bfloat16, where
    PyTorch's flash attention keeps them in float32, and what is common, such as a bias of the keys, would use them up.
    """
    return key - key.mean(dim=1, keepdim=True)


class _Attention(torch.autograd.Function):
    """softmax(scale Q K' + bias) V, with dropout on the softmax (Vaswani et al. 2017)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        who: Reach,
        scale: float,
        drops: Drops | None,
    ) -> torch.Tensor:
        batch, heads, tokens, width = query.shape
        q, k, v = (part.reshape(-1, tokens, width) for part in (query, key, value))
        if k.dtype != torch.float32:
            k = _centred(k)
        pieces = _pieces(who, batch, heads, tokens, query.dtype)
        found = torch.empty_like(q)
        masks = drops.masks() if drops else None
        with torch.autocast("cpu", enabled=False):
            for piece in pieces:
                keys = slice(0, piece.keys)
                weights = _probabilities(q[piece.rows, piece.queries], k[piece.rows, keys], piece, scale)
                if masks:
                    weights.mul_(masks.next(weights.shape, weights.dtype))
                found[piece.rows, piece.queries] = torch.bmm(weights, v[piece.rows, keys])
        if drops:
            found.mul_(drops.scale)
        ctx.save_for_backward(q, k, v)
        ctx.pieces, ctx.scale, ctx.drops = pieces, scale, drops
        return found.view(batch, heads, tokens, width)

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        q, k, v = ctx.saved_tensors
        dq, dk, dv = (torch.zeros_like(part) for part in (q, k, v))
        upstream = gradient.reshape(q.shape)
        kept = ctx.drops.scale if ctx.drops else 1.0
        masks: Masks | None = ctx.drops.masks() if ctx.drops else None
        for piece in ctx.pieces:
            at, first = (piece.rows, piece.queries), (piece.rows, slice(0, piece.keys))
            weights = _probabilities(q[at], k[first], piece, ctx.scale)
            into_weights = torch.bmm(upstream[at], v[first].transpose(1, 2))
            dropped = weights
            if masks:
                mask = masks.next(weights.shape, weights.dtype)
                dropped = weights * mask
                into_weights.mul_(mask)
            dv[first] += torch.bmm(dropped.transpose(1, 2), upstream[at])
            into_scores = torch._softmax_backward_data(into_weights, weights, -1, weights.dtype)
            dq[at] += torch.bmm(into_scores, k[first])
            dk[first] += torch.bmm(into_scores.transpose(1, 2), q[at])
        shape = gradient.shape
        return (
            dq.mul_(ctx.scale * kept).view(shape),
            dk.mul_(ctx.scale * kept).view(shape),
            dv.mul_(kept).view(shape),
            None,
            None,
            None,
        )
