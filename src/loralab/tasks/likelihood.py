"""How likely a language model finds each token, without the logits of a whole batch in memory.

At a vocabulary of 50,257 the float32 logits of 14 blocks of 350 tokens take a gigabyte, and their gradient another.
Here the output layer is applied to some tokens at a time, and to those alone that count. In training, the gradient of a
piece is taken at once, while its logits stand in memory, as Liger's kernel does (Hsu et al. 2024, arXiv:2410.10989).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from loralab.autograd import applied, once
from loralab.pretrained import parts_of

Tensor = torch.Tensor

NOT_COUNTED = -100  # a label that adds nothing, as torch and transformers have it
PIECE = 2**24  # logits at a time: 64 MB in float32, and as much again for their gradient
MOST = 4 * PIECE  # where the output layer is trained


def summed_loss(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the negative log-likelihood of the labels, in nats, summed over all that count: a scalar in float32.

    `batch`: `input_ids`, `labels` (the token after each, or NOT_COUNTED), and `attention_mask` where there is padding;
    each (batch, tokens).
    """
    hidden, labels, head = _counted(network, batch)
    trained = [weight for weight in head.parameters() if weight.requires_grad]
    return applied(_PiecewiseLoss, hidden, labels, head, *trained)


@torch.no_grad()
def token_losses(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return (batch, tokens, 2), float32: each label's negative log-likelihood, and one where it was the likeliest.

    Zero where nothing counts.
    """
    hidden, labels, head = _counted(network, batch)
    found = [
        torch.stack([cross_entropy(logits, own, reduction="none"), (logits.argmax(dim=-1) == own).float()], dim=-1)
        for logits, own in ((head(piece).float(), own) for piece, own in _pieces(hidden, labels, head, PIECE))
    ]
    losses = torch.zeros(*batch["labels"].shape, 2, device=labels.device)
    losses[batch["labels"] != NOT_COUNTED] = torch.cat(found)
    return losses


def _counted(network: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, nn.Module]:
    """Return what the network makes of the tokens whose label counts, the labels, and what makes logits of the first.

    Where the logits can't be made apart, they are what is returned first, and nothing is left to be made of them.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    places = batch["labels"] != NOT_COUNTED
    parts = parts_of(network)
    if parts is None:
        logits = network(**inputs, use_cache=False).logits
        logits = logits[:, -places.shape[1] :]  # a prompt in front of the text has logits of its own
        return logits[places], batch["labels"][places], nn.Identity()
    body, head = parts
    return body(**inputs, use_cache=False).last_hidden_state[places], batch["labels"][places], head


def _pieces(hidden: Tensor, labels: Tensor, head: Any, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, at_once // _width(hidden, head))
    for start in range(0, len(labels), size):
        yield hidden[start : start + size], labels[start : start + size]


def _width(hidden: Tensor, head: Any) -> int:
    """Return how many logits the head makes of a token."""
    base = getattr(head, "base_layer", head)  # PEFT's layers hold the original one
    return int(getattr(base, "out_features", None) or hidden.shape[-1])


class _PiecewiseLoss(torch.autograd.Function):
    """The summed loss of (tokens, width) under a head; its gradients are made on the way forward, piece by piece."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, labels: Tensor, head: Any, *trained: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        of_hidden: list[Tensor] = []
        of_trained: dict[int, Tensor] = {}  # by place; TinyLoRA keeps a weight in the head that isn't used there
        # Each piece makes a whole gradient of a trained weight, to be added up: so large a weight has fewer pieces.
        at_once = min(MOST, max([PIECE, *(weight.numel() for weight in trained)]))
        for piece, own in _pieces(hidden, labels, head, at_once):
            with torch.enable_grad():
                leaf = piece.detach().requires_grad_(ctx.needs_input_grad[0])
                loss = cross_entropy(head(leaf).float(), own, reduction="sum")
                wanted = [leaf, *trained] if leaf.requires_grad else trained
                others = list(torch.autograd.grad(loss, wanted, allow_unused=True))
            total += loss.detach()
            if leaf.requires_grad:
                of_hidden.append(others.pop(0))
            for place, gradient in enumerate(others):
                if gradient is not None:
                    of_trained[place] = of_trained[place].add_(gradient) if place in of_trained else gradient
        ctx.of_hidden = torch.cat(of_hidden) if of_hidden else None
        ctx.of_trained = [of_trained.get(place) for place in range(len(trained))]
        return total

    @staticmethod
    @once
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (scale,) = upstream
        of_hidden, *of_trained = (None if made is None else made * scale for made in (ctx.of_hidden, *ctx.of_trained))
        return of_hidden, None, None, *of_trained
