"""Dropout on a processor from a fast generator. PyTorch draws its masks there one number after the other, which takes a
quarter of a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from loralab.autograd import applied, once
from loralab.engine.modules import replace_modules

LEVELS = 256  # a mask is drawn from bytes


@dataclass(frozen=True)
class Drops:
    """What one call drops: the same as often as it is drawn, so that no mask is kept for the way back."""

    rate: float
    seed: int

    @classmethod
    def draw(cls, rate: float) -> Drops:
        """Take the next seed from torch's own generator, whose state a checkpoint keeps."""
        return cls(rate, int(torch.randint(2**62, ()).item()))

    @property
    def _dropped(self) -> int:
        return min(round(self.rate * LEVELS), LEVELS - 1)

    @property
    def scale(self) -> float:
        """What is kept is multiplied by it: one over the share that is really kept, so that the mean stays."""
        return LEVELS / (LEVELS - self._dropped)

    def masks(self) -> Masks:
        """Return the source of the masks, at its beginning."""
        return Masks(self._dropped, np.random.SFC64(self.seed))

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Return `values` with some of them dropped and the others scaled."""
        return self.masks().next(values.shape, values.dtype).mul_(values).mul_(self.scale)


@dataclass(frozen=True)
class Masks:
    """A stream of masks. A byte decides on a value: the rate is kept to within 1/512."""

    dropped: int  # of 256 levels
    source: np.random.SFC64

    def next(self, shape: torch.Size | tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return ones and zeros."""
        mask = torch.empty(shape, dtype=dtype)
        # numpy's own bytes() takes six times as long.
        raw = self.source.random_raw(mask.numel() // 8 + 1).view(np.uint8)[: mask.numel()]
        # Written as the values' type, since a multiplication by another type is ten times slower.
        return torch.ge(torch.from_numpy(raw).view(mask.shape), self.dropped, out=mask)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, rate: float) -> torch.Tensor:
        drops = ctx.drops = Drops.draw(rate)
        return drops.of(values)

    @staticmethod
    @once
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.drops.of(gradients[0]), None


class FastDropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014) as torch's, but fast on a processor."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name of the class it stands for
        """Drop values in training."""
        if not self.training or self.p in (0, 1) or input.device.type != "cpu":
            return super().forward(input)
        return applied(_Drop, input, self.p)


def speed_up_dropout(network: nn.Module) -> None:
    """Put fast dropout in the place of torch's. It has no weights, so that nothing of it is saved."""
    replace_modules(
        network,
        lambda one: FastDropout(one.p, one.inplace).train(one.training) if type(one) is nn.Dropout else None,
    )
