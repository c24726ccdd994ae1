"""What a training batch gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BatchLoss:
    """The outcome of a batch, as sums, so that batches of different size can be added up."""

    loss: torch.Tensor  # scalar, float32: summed over the batch's texts or tokens, in nats
    correct: torch.Tensor | None  # scalar: texts whose most likely label was right; None where there are no labels
