"""Full fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from loralab.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from loralab.pretrained import Loaded


class Full(Settings):
    """Trains every weight of the model; nothing is frozen."""

    kind: Literal["full"] = "full"
    saves_adapter: ClassVar[bool] = False

    def adapt(self, loaded: Loaded) -> PreTrainedModel:
        """Make every parameter trainable."""
        loaded.network.requires_grad_(True)
        return loaded.network

    def save(self, network: PreTrainedModel, folder: Path) -> None:
        """Write the whole model, as `from_pretrained` reads it."""
        network.save_pretrained(folder)
