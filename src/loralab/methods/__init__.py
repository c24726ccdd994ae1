"""How a pretrained model is adapted. A method is one class; `Method` lists the kinds, told apart by `kind`."""

from typing import Annotated

from pydantic import Discriminator

from loralab.methods.bitfit import BitFit
from loralab.methods.full import Full
from loralab.methods.head_only import HeadOnly
from loralab.methods.lora import Lora
from loralab.methods.peft import Peft
from loralab.methods.untouched import Untouched

Method = Annotated[Full | Lora | HeadOnly | BitFit | Peft, Discriminator("kind")]

__all__ = ["BitFit", "Full", "HeadOnly", "Lora", "Method", "Peft", "Untouched", "rate_factor"]


def rate_factor(method: Method | Untouched, parameter: str) -> float:
    """Return by what the learning rate of `parameter`, named in full, is multiplied under `method`."""
    return method.rate_factor(parameter) if isinstance(method, Lora) else 1.0
