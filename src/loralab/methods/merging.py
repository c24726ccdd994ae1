"""Merging an adapter into its model, where the output layer may share its weight with the input embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class NotMergeableError(Exception):
    """A method, or a setting of it, that can't be merged into the model's weights."""


def merged(network: PeftModel) -> PreTrainedModel:
    """Merge the adapter into the model, in place, and return the plain model.

    An adapted output layer that shares its weight with the input embedding gets a weight of its own first: merging
    (peft 0.21) would write into both. The model's configuration says so then, so that it is loaded as it was saved.
    Raises NotMergeableError.
    """
    if not hasattr(network, "merge_and_unload"):  # as with a prompt (peft 0.21)
        raise NotMergeableError("there is nothing to add to its weights")
    plain = network.get_base_model()
    if shares_output(plain) and _is_adapted(plain):
        _untie(plain)
    try:
        model: PreTrainedModel = network.merge_and_unload()
    except (NotImplementedError, ValueError) as error:  # how PEFT (0.21) says of its methods and settings that it can't
        raise NotMergeableError(str(error)) from error
    return model


def shares_output(network: PreTrainedModel) -> bool:
    """Tell whether the output layer's weight is the input embedding's, adapted or not."""
    output = network.get_output_embeddings()
    return output is not None and output.weight is network.get_input_embeddings().weight


def _is_adapted(network: PreTrainedModel) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(
        isinstance(layer, BaseTunerLayer) for layer in (network.get_output_embeddings(), network.get_input_embeddings())
    )


def _untie(network: PreTrainedModel) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    output = network.get_output_embeddings()
    layer = output.get_base_layer() if isinstance(output, BaseTunerLayer) else output
    layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=layer.weight.requires_grad)
    network.config.tie_word_embeddings = False
    # transformers 5 ties again by this table, and when it saves takes it for the truth.
    network.all_tied_weights_keys = network.get_expanded_tied_weights_keys(all_submodels=True)
