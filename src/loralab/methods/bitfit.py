"""Training the biases alone (Ben Zaken et al. 2021, arXiv:2106.10199)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from loralab.errors import UserError
from loralab.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from loralab.pretrained import Loaded


class BitFit(Settings):
    """Trains every bias and the new head; the matrices stay frozen."""

    kind: Literal["bitfit"] = "bitfit"
    saves_adapter: ClassVar[bool] = False

    def adapt(self, loaded: Loaded) -> PreTrainedModel:
        """Make biases and head trainable and freeze the others. Raises UserError for a model without biases."""
        network = loaded.network
        # DeBERTa v1 calls some of them `q_bias` and `v_bias`.
        biases = {name for name, _ in network.named_parameters() if name.endswith("bias")} - loaded.head
        if not biases:
            others = "lora or head-only" if loaded.head else "lora"
            raise UserError(
                f"method bitfit: this {network.config.model_type} model has no biases to train; take {others}"
            )
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in biases or name in loaded.head)
        return network

    def save(self, network: PreTrainedModel, folder: Path) -> None:
        """Write the whole model, as `from_pretrained` reads it."""
        network.save_pretrained(folder)
