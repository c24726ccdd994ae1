"""What is learnt and how it is scored. A task is one class; `Task` lists the kinds, told apart by `kind`.

A task reads data, makes examples of every split, loads a network, and gives of a batch its loss or its outputs; of
outputs it makes items, and of items scores. What it is given is what it made: it tells so by an assertion.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator

from loralab.tasks.causal_lm import CausalLM
from loralab.tasks.classification import Classification

Task = Annotated[Classification | CausalLM, Discriminator("kind")]

__all__ = ["CausalLM", "Classification", "Task"]
