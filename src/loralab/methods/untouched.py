"""No training at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from loralab.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from loralab.pretrained import Loaded


class Untouched(Settings):
    """Leaves the model as it was loaded, its new head drawn at random: the score that every arm starts from."""

    kind: Literal["untouched"] = "untouched"
    saves_adapter: ClassVar[bool] = False

    def adapt(self, loaded: Loaded) -> PreTrainedModel:
        """Freeze everything."""
        loaded.network.requires_grad_(False)
        return loaded.network
