"""How a pretrained model is adapted. A method is one class; `Method` lists the kinds, told apart by `kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Discriminator

from loralab.methods.bitfit import BitFit
from loralab.methods.full import Full
from loralab.methods.head_only import HeadOnly
from loralab.methods.lora import Lora
from loralab.methods.peft import Peft
from loralab.methods.untouched import Untouched

if TYPE_CHECKING:
    from torch import nn

Method = Annotated[Full | Lora | HeadOnly | BitFit | Peft, Discriminator("kind")]

__all__ = ["BitFit", "Full", "HeadOnly", "Lora", "Method", "Peft", "Untouched", "rate_factor", "weights_to_save"]


def rate_factor(method: Method | Untouched, parameter: str) -> float:
    """Return by what the learning rate of `parameter`, named in full, is multiplied under `method`."""
    return method.rate_factor(parameter) if isinstance(method, Lora) else 1.0


def weights_to_save(method: Method | Untouched, network: nn.Module) -> int:
    """Return how many single weights `method` has to save of its trained `network`, tied ones counted once."""
    if isinstance(method, Lora | Peft):
        return method.weights_to_save(network)
    return sum(weight.numel() for weight in network.parameters())
