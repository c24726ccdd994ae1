"""What a loaded network is made of: its head, its positions, its output layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_POSITIONS = ("position_embeddings", "embed_positions", "wpe")  # names of the table of positions


@dataclass(frozen=True)
class Loaded:
    """A network as it came from its checkpoint, ready to be adapted."""

    network: PreTrainedModel
    head: frozenset[str]  # names of its parameters; a language model has none that would be new
    peft_task: str  # PEFT's name for the task, such as 'SEQ_CLS'
    is_head_drawn: bool = False  # at random, since the checkpoint lacked it


def reads_last_token(network: Any) -> bool:
    """Tell whether a classifier reads its answer at the last token that isn't padding, as decoders do.

    transformers 5 calls the head of such a classifier `score` (CTRL apart).
    """
    return hasattr(network, "score")


def most_positions(network: PreTrainedModel) -> int | None:
    """Return how many tokens the network has positions for, or None where it computes positions without a table."""
    from torch import nn

    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding) and name.rsplit(".", 1)[-1] in _POSITIONS:
            # RoBERTa and its kin begin behind the padding's number, OPT at an offset.
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - unused - int(getattr(module, "offset", 0))
    return None


def context_length(network: Any) -> int | None:
    """Return how many tokens a decoder reads at once, by its table of positions or its configuration; None: any."""
    configured = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return most_positions(network) or (int(configured) if configured else None)


# Decoders whose output layer makes the logits of the last hidden state, and nothing else is done to either (Cohere
# scales them; Gemma 2 bends them, and Gemma 3 where its configuration says so).
_PLAIN_OUTPUT = (
    *("gpt2", "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "olmo2", "smollm3"),
    *("gemma", "gemma3_text"),
)


def parts_of(network: Any) -> tuple[nn.Module, nn.Module] | None:
    """Return a language model without its output layer, and that layer, or None where they aren't all of it.

    `network` may be wrapped by a method of PEFT that changes layers in place; others do something around the whole.
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTuner

    model = network
    if isinstance(network, PeftModel):
        tuner = network.base_model
        # Prompts are no tuner, and a tuner may run something of its own around the whole.
        if not isinstance(tuner, BaseTuner) or type(tuner).forward is not BaseTuner.forward:
            return None
        model = network.get_base_model()
    if model.config.model_type not in _PLAIN_OUTPUT or getattr(model.config, "final_logit_softcapping", None):
        return None
    return model.base_model, model.get_output_embeddings()


def head_modules(loaded: Loaded) -> list[str]:
    """Return the fewest modules that hold the head's parameters and no others, by full name, in the network's order.

    RoBERTa's new `classifier.dense` and `classifier.out_proj` give `classifier`; DeBERTa's give `pooler`, `classifier`.
    """
    found: list[str] = []
    for name, module in loaded.network.named_modules():
        own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
        if own and own <= loaded.head and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found
