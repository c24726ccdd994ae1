"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685), by PEFT and saved in PEFT's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from loralab.methods.targets import target_modules
from loralab.pretrained import Loaded, head_modules
from loralab.settings import Settings

if TYPE_CHECKING:
    from peft import PeftModel


class Lora(Settings):
    """Adds alpha / rank * B A to chosen linear layers and trains B, A and the new head; all else stays frozen."""

    kind: Literal["lora"] = "lora"
    saves_adapter: ClassVar[bool] = True
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("attention",)  # roles, or the ends of layers' names

    def adapt(self, loaded: Loaded) -> PeftModel:
        """Wrap the network with adapters. Raises UserError for a target that the model lacks."""
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            task_type=loaded.peft_task,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=target_modules(loaded, self.targets),
            modules_to_save=head_modules(loaded),
        )
        return get_peft_model(loaded.network, config)

    def save(self, network: PeftModel, folder: Path) -> None:
        """Write the adapter and the head; the base model is named, not copied."""
        network.save_pretrained(folder)
