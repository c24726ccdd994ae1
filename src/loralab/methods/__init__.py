"""How a pretrained model is adapted. A method is one class; `Method` lists the kinds, told apart by `kind`."""

from typing import Annotated

from pydantic import Discriminator

from loralab.methods.full import Full
from loralab.methods.head_only import HeadOnly
from loralab.methods.lora import Lora
from loralab.methods.untouched import Untouched

Method = Annotated[Full | Lora | HeadOnly, Discriminator("kind")]

__all__ = ["Full", "HeadOnly", "Lora", "Method", "Untouched"]
