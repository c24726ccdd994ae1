"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685), by PEFT and saved in PEFT's format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError

from loralab.errors import UserError
from loralab.methods.merging import shares_output
from loralab.methods.targets import output_layer, target_modules
from loralab.methods.wrapping import wrap
from loralab.pretrained import Loaded, head_modules
from loralab.settings import Settings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

_INITS = r"default|gaussian|orthogonal|pissa|pissa_niter_\d+|olora"  # those of PEFT that need no data


class Lora(Settings):
    """Adds alpha / rank * B A to chosen linear layers and trains B, A and the new head; all else stays frozen.

    `rslora` scales by alpha / sqrt(rank) instead (Kalajdzievski 2023, arXiv:2312.03732); `dora` trains the length of
    each weight's columns too (Liu et al. 2024, arXiv:2402.09353); `lora_plus` is how many times A's learning rate B's
    is (Hayou et al. 2024, arXiv:2402.12354).

    `init` is how A and B begin. By `default`, `gaussian` and `orthogonal` the model begins as it was. `pissa` (Meng et
    al. 2024, arXiv:2404.02948; `pissa_niter_16` is a fast approximation) and `olora` (Büyükakyüz 2024,
    arXiv:2406.01775) move part of the frozen weight into B A. What is saved is still a plain adapter over the original
    checkpoint; it holds the end and the beginning of B A, so that its rank is twice the trained one.
    """

    kind: Literal["lora"] = "lora"
    saves_adapter: ClassVar[bool] = True
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("attention",)  # roles, or the ends of layers' names
    dora: bool = False
    rslora: bool = False
    init: str = "default"
    bias: Literal["none", "all", "lora_only"] = "none"  # which biases are trained; `lora_only`: those of the targets
    lora_plus: PositiveFloat | None = None

    @field_validator("init")
    @classmethod
    def _is_an_initialisation(cls, init: str) -> str:
        if not re.fullmatch(_INITS, init):
            names = _INITS.replace("|", ", ").replace(r"\d+", "N")
            raise PydanticCustomError("init", "{init} is not one of {names}", {"init": repr(init), "names": names})
        return init

    @model_validator(mode="after")
    def _fits_together(self) -> Lora:
        if self.dora and self._moves_weights:
            # A trained DoRA adapter is no sum of B A and the weight, so there is no way back to the original weights.
            raise PydanticCustomError("init", "dora can't begin from {init}; take default", {"init": self.init})
        if self.init == "orthogonal" and self.rank % 2:
            raise PydanticCustomError("init", "init orthogonal needs an even rank, not {rank}", {"rank": self.rank})
        return self

    @property
    def _moves_weights(self) -> bool:
        """Tell whether the beginning takes B A out of the frozen weights."""
        return self.init.startswith(("pissa", "olora"))

    def adapt(self, loaded: Loaded) -> PeftModel:
        """Wrap the network with adapters. Raises UserError for a target that the model lacks or that is too small."""
        from peft import LoraConfig

        layers = target_modules(loaded, self.targets)
        self._check_layers(loaded, layers)
        config = LoraConfig(
            task_type=loaded.peft_task,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=layers,
            modules_to_save=head_modules(loaded) or None,
            use_dora=self.dora,
            use_rslora=self.rslora,
            init_lora_weights=True if self.init == "default" else self.init,
            bias=self.bias,
        )
        network = wrap(loaded, config)
        if self._moves_weights:
            network.beginning = {name: matrix.clone() for name, matrix in _matrices(network).items()}
        return network

    def rate_factor(self, parameter: str) -> float:
        """Return by what the learning rate of `parameter`, named in full, is multiplied."""
        return self.lora_plus if self.lora_plus is not None and ".lora_B." in parameter else 1.0

    def save(self, network: PeftModel, folder: Path) -> None:
        """Write the adapter and the head; the base model is named, not copied."""
        # PEFT 0.21 would write the whole vocabulary beside an adapter of the output layer.
        network.save_pretrained(folder, save_embedding_layers=False)
        if self._moves_weights:
            _restore_base(folder, network.beginning)

    def largest_rank(self, loaded: Loaded) -> int:
        """Return the largest rank that every target has room for. Raises UserError for a target that isn't there."""
        smallest = _smallest(loaded, target_modules(loaded, self.targets))
        return int(min(loaded.network.get_submodule(smallest).weight.shape))

    def weights_to_save(self, network: PeftModel) -> int:
        """Return how many single weights belong on disk: those trained, and B A as it was taken out of the weights."""
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        beginning = network.beginning.values() if self._moves_weights else ()
        return sum(weight.numel() for weight in (*trained, *beginning))

    def _check_layers(self, loaded: Loaded, layers: Sequence[str]) -> None:
        from transformers.pytorch_utils import Conv1D

        name = _smallest(loaded, layers)
        rows, columns = loaded.network.get_submodule(name).weight.shape
        if self.rank > min(rows, columns):
            raise UserError(
                f"method.rank: {self.rank} is larger than the layer {name} of {rows} x {columns} weights; "
                f"take at most {min(rows, columns)}, or other targets"
            )
        for name in layers:
            if self.init == "olora" and isinstance(loaded.network.get_submodule(name), Conv1D):
                raise UserError(f"method.init: PEFT's olora mistakes the transposed layer {name}; take pissa")
        if self._moves_weights and output_layer(loaded) in layers and shares_output(loaded.network):
            raise UserError(
                f"method.init: {self.init} would take B A out of the input embedding too, whose weight is the output "
                "layer's; take init default, or leave the output layer out of the targets"
            )


def _smallest(loaded: Loaded, layers: Sequence[str]) -> str:
    """Return which of the layers has room for the lowest rank."""
    return min(layers, key=lambda name: min(loaded.network.get_submodule(name).weight.shape))


def _matrices(network: PeftModel) -> dict[str, torch.Tensor]:
    """Return every A and B by the name under which PEFT saves it."""
    from peft import get_peft_model_state_dict

    saved = get_peft_model_state_dict(network, save_embedding_layers=False)
    return {name: matrix for name, matrix in saved.items() if ".lora_A." in name or ".lora_B." in name}


def _restore_base(folder: Path, beginning: Mapping[str, torch.Tensor]) -> None:
    """Rewrite a saved adapter whose beginning B0 A0 was taken out of the weights as one over the original weights.

    W - s B0 A0 + s B A = W + s [B, -B0] [A; A0], of twice the rank. PEFT has the same conversion in `save_pretrained`
    (`path_initial_model_for_weight_conversion`), but there (0.21) it drops the head and trained biases.
    """
    import torch
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    for name, first in beginning.items():
        # A is (rank, in), B is (out, rank).
        parts, dimension = ([tensors[name], first], 0) if ".lora_A." in name else ([tensors[name], -first], 1)
        tensors[name] = torch.cat([part.cpu() for part in parts], dim=dimension).contiguous()
    save_file(tensors, file, metadata={"format": "pt"})
    config = LoraConfig.from_pretrained(folder)
    config.r *= 2
    config.lora_alpha *= 2**0.5 if config.use_rslora else 2  # the scale s stays as it was
    config.init_lora_weights = True
    config.save_pretrained(folder)
