"""Training the head alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from loralab.errors import UserError
from loralab.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from loralab.pretrained import Loaded


class HeadOnly(Settings):
    """Trains the new head; every pretrained weight stays frozen. It shows what the pretrained features are worth.

    What the head reads is fixed: dropout in the frozen part is off.
    """

    kind: Literal["head-only"] = "head-only"
    saves_adapter: ClassVar[bool] = False

    def adapt(self, loaded: Loaded) -> PreTrainedModel:
        """Make the head's parameters trainable and freeze the others. Raises UserError where there is no new head."""
        if not loaded.head:
            raise UserError("method head-only: a language model has no new head; take lora, bitfit or full")
        for name, parameter in loaded.network.named_parameters():
            parameter.requires_grad_(name in loaded.head)
        return loaded.network

    def save(self, network: PreTrainedModel, folder: Path) -> None:
        """Write the whole model, as `from_pretrained` reads it."""
        network.save_pretrained(folder)
