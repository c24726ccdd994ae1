"""Any other method of PEFT, under PEFT's own names."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from loralab.errors import UserError, unknown_name
from loralab.methods.targets import target_modules
from loralab.methods.wrapping import wrap
from loralab.pretrained import Loaded, head_modules, reads_last_token
from loralab.settings import Settings

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

_REFUSED = {
    "LORA": "take kind lora, whose settings have names of their own",
    "ADALORA": "it moves rank between layers by a call after every step, which the training loop doesn't make",
    "CPT": "it needs a loss of its own, over examples in its prompt, and the training loop takes the task's",
    "LILY": "its router averages over the batch, so that an answer depends on other texts, and on tokens to come",
    "MULTITASK_PROMPT_TUNING": "it needs to be told which task every text belongs to",
    "POLY": "it needs to be told which task every text belongs to",
    "XLORA": "it mixes adapters that were trained before",
    "CARTRIDGE": "it begins from the model's reading of a corpus",
    "SHADOW": "it adds a loss of its small network beside the model, and the training loop takes the task's",
}
_FOR_LANGUAGE_MODELS = ("ADAPTION_PROMPT",)
_PROMPTS = ("PROMPT_TUNING", "P_TUNING")  # vectors in front of the text's embeddings
# Told by loralab itself, from the task and the model.
_GIVEN = {
    *("peft_type", "task_type", "modules_to_save", "inference_mode"),
    *("base_model_name_or_path", "revision", "auto_mapping", "peft_version"),
}


class Peft(Settings):
    """Adapts the model by PEFT's method `peft_type`, such as IA3; the settings are the fields of PEFT's config class.

    `targets` names layers by role, as in `lora`; PEFT's own `target_modules`, or its default for the architecture,
    serves where it is left out. The new head is trained and saved too.
    """

    model_config = ConfigDict(extra="allow")  # PEFT's names; `mistakes` checks them

    kind: Literal["peft"] = "peft"
    saves_adapter: ClassVar[bool] = True
    peft_type: str
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    def mistakes(self) -> list[str]:
        """Return what PEFT would not take. It imports PEFT, and torch with it: only for a file that is newly read."""
        known = _config_classes()
        if self.peft_type not in known:
            return [unknown_name("peft_type", self.peft_type, sorted(known))]
        if self.peft_type in _REFUSED:
            return [f"peft_type {self.peft_type} can't be compared here: {_REFUSED[self.peft_type]}"]
        return [*self._wrong_names(known[self.peft_type]), *_wrong_values(known[self.peft_type], self._fields)]

    def adapt(self, loaded: Loaded) -> PeftModel:
        """Wrap the network. Raises UserError where PEFT can't, or can't keep the answers right for padded batches."""
        self._check_head(loaded)
        fields = {**self._found(loaded), **self._fields}
        try:
            config = _config_classes()[self.peft_type](**fields)
            _check_prompt(config, loaded)
            return wrap(loaded, config)
        except (ValueError, TypeError, OSError, ImportError) as error:
            raise UserError(f"method: PEFT can't make {self.peft_type} of these settings: {error}") from error

    def save(self, network: PeftModel, folder: Path) -> None:
        """Write the adapter and the head; the base model is named, not copied."""
        # PEFT 0.21 would write the whole vocabulary beside an adapter of the output layer.
        network.save_pretrained(folder, save_embedding_layers=False)

    def weights_to_save(self, network: PeftModel) -> int:
        """Return how many single weights belong on disk: those that PEFT counts to the adapter, and no embeddings.

        They need not be the trained ones: P-tuning saves what its encoder makes, VeRA its random matrices too.
        """
        from peft import get_peft_model_state_dict

        adapter = get_peft_model_state_dict(network, save_embedding_layers=False)
        return sum(weight.numel() for weight in adapter.values())

    @property
    def _fields(self) -> Mapping[str, Any]:
        """What is passed on to PEFT as it stands."""
        return self.model_extra or {}

    def _found(self, loaded: Loaded) -> dict[str, Any]:
        """What task and model tell; a field of the user's goes before."""
        found: dict[str, Any] = {"task_type": loaded.peft_task}
        if loaded.head:
            found["modules_to_save"] = head_modules(loaded)
        if self.targets is not None:
            found["target_modules"] = target_modules(loaded, self.targets)
        if self.targets is not None and self.peft_type == "IA3":
            # By default PEFT (0.21) takes feed-forward layers that may be no targets, and can't read its own file then.
            inner = target_modules(loaded, ("feed-forward",))
            found["feedforward_modules"] = [name for name in found["target_modules"] if name in inner]
        if self.peft_type in _PROMPTS:
            # PEFT (0.21) takes the width of the layers, which in ALBERT and ELECTRA is not that of the embeddings, and
            # doesn't know DistilBERT's names for both.
            found["token_dim"] = loaded.network.get_input_embeddings().embedding_dim
            found["num_attention_heads"] = loaded.network.config.num_attention_heads
        return found

    def _wrong_names(self, config_class: type[PeftConfig]) -> list[str]:
        names = {field.name for field in dataclasses.fields(config_class) if field.init}
        known = sorted(names - _GIVEN)
        wrong = [unknown_name("setting", name, known) for name in self._fields if name not in names | _GIVEN]
        wrong += [f"{name} is set by loralab; leave it out" for name in self._fields if name in _GIVEN]
        if self.targets is not None and "target_modules" not in names:
            wrong.append(f"{self.peft_type} has no targets; leave them out")
        if self.targets is not None and "target_modules" in self._fields:
            wrong.append("give either targets or target_modules")
        if "num_virtual_tokens" in names and "num_virtual_tokens" not in self._fields:
            wrong.append("num_virtual_tokens is missing")  # PEFT has None for a default and fails on it
        if self.peft_type == "ADAMSS" and self._fields.get("use_asa"):
            wrong.append("use_asa needs a call after every step, which the training loop doesn't make; leave it out")
        if self.peft_type == "IA3" and "target_modules" in self._fields and "feedforward_modules" not in self._fields:
            wrong.append("feedforward_modules is missing; it says which of target_modules are feed-forward layers")
        return wrong

    def _check_head(self, loaded: Loaded) -> None:
        """Refuse what can't train a new head, which the method alone doesn't tell: a language model has none."""
        if not loaded.head:
            return
        if self.peft_type in _FOR_LANGUAGE_MODELS:
            raise UserError(f"method: {self.peft_type} is made for language models; take another peft_type")
        if "modules_to_save" not in {field.name for field in dataclasses.fields(_config_classes()[self.peft_type])}:
            raise UserError(f"method: {self.peft_type} has no place for the new head; take another peft_type")


def _config_classes() -> dict[str, type[PeftConfig]]:
    """Return PEFT's config classes by `peft_type`."""
    import peft

    return {kind.value: config_class for kind, config_class in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def _wrong_values(config_class: type[PeftConfig], fields: Mapping[str, Any]) -> list[str]:
    """Hold the values against the type hints of PEFT's class, which PEFT itself doesn't, then let the class judge."""
    hints = typing.get_type_hints(config_class)
    wrong = []
    for name, value in fields.items():
        try:
            TypeAdapter(hints.get(name, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            wrong.append(f"{name} can't be {value!r}: {error.errors()[0]['msg']}")
        except PydanticSchemaGenerationError:
            continue  # a type of PEFT's own
    if not wrong and fields.keys() <= hints.keys() - _GIVEN:
        try:
            config_class(**fields)
        except (ValueError, TypeError, ImportError) as error:
            wrong.append(str(error))
    return wrong


def _check_prompt(config: PeftConfig, loaded: Loaded) -> None:
    """Refuse the prompts that the network can't take (peft 0.21, transformers 5)."""
    if not config.is_prompt_learning:
        return
    import inspect

    from peft import PeftType

    model_type = loaded.network.config.model_type
    if config.peft_type == PeftType.PREFIX_TUNING:
        if "past_key_values" not in inspect.signature(loaded.network.forward).parameters:
            raise UserError(f"method: networks of type {model_type} take no prefix; take peft_type PROMPT_TUNING")
    elif not loaded.head:
        # The task would find no logits for them among its tokens, and GPT-2 no positions behind a whole block.
        raise UserError(
            f"method: a language model gives logits for the vectors of {config.peft_type.value} too, which are no "
            "tokens of the text; take PREFIX_TUNING"
        )
    elif reads_last_token(loaded.network):
        # Given vectors instead of tokens, transformers can't tell padding, and would read the answer from it.
        raise UserError(f"method: classifiers of type {model_type} mistake padding behind a prompt; take PREFIX_TUNING")
