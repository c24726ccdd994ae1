"""From a Trial to a network that is ready to be trained: read, tokenise, load, adapt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loralab.data import AnyData
from loralab.engine.activations import fuse_activations
from loralab.engine.precision import Precision, precision_of
from loralab.engine.tokenised import tokenised
from loralab.errors import UserError
from loralab.experiment import Trial
from loralab.measure import Meter, count_parameters
from loralab.memory import release_memory
from loralab.pretrained import load_tokenizer, locate, revisions
from loralab.results import Parameters
from loralab.tasks.examples import Examples

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Head:
    """What stands on a pretrained model, as a trial begins with it."""

    names: frozenset[str]  # of its parameters, as they were before the network was adapted
    sha256: str | None  # None where there is none
    is_drawn: bool  # at random; else it is the checkpoint's own


@dataclass(frozen=True)
class Ready:
    """A trial about to be trained."""

    device: torch.device
    precision: Precision
    data: AnyData
    splits: Mapping[str, Examples]  # train, validation, test, and sets from elsewhere
    weights: tuple[float, ...] | None  # of the labels in the training loss
    tokenizer: PreTrainedTokenizerBase
    network: Any  # adapted, on the device
    parameters: Parameters
    head: Head
    model_revision: str
    tokenizer_revision: str


@dataclass(frozen=True)
class Built:
    """A network as its trial begins with it."""

    network: Any  # adapted, on the processor
    head: Head


def set_up(trial: Trial, folder: Path, meter: Meter) -> Ready:
    """Make `trial` ready, its phases credited to `meter`. Raises UserError for what the user can put right.

    `folder`: the results folder, which keeps the tokens for the trials to come.
    """
    from accelerate import PartialState
    from accelerate.utils import set_seed

    conditions, task = trial.conditions, trial.conditions.task
    device = PartialState().device
    with meter.phase("reading"):
        data = task.read()
        weights = task.weights(data)
    with meter.phase("loading"):
        locate(conditions.model)  # a packaged file is compared with the published one, once, and not while tokenising
    with meter.phase("tokenising"):
        tokenizer = load_tokenizer(conditions.model)
        splits = tokenised(task, data, tokenizer, folder)
    release_memory()  # else what reading left would be taken up again unseen
    meter.mark_resident()
    with meter.phase("loading"):
        built = build(trial, tokenizer, data)
        parameters = count_parameters(built.network)
        network = built.network.to(device)
        set_seed(trial.seed)  # whatever a method drew above, all arms begin training from one random state
    precision = precision_of(conditions, device, network.config.model_type)
    model_revision, tokenizer_revision = revisions(conditions.model)
    return Ready(
        device=device,
        precision=precision,
        data=data,
        splits=splits,
        weights=weights,
        tokenizer=tokenizer,
        network=network,
        parameters=parameters,
        head=built.head,
        model_revision=model_revision,
        tokenizer_revision=tokenizer_revision,
    )


def build(trial: Trial, tokenizer: PreTrainedTokenizerBase, data: AnyData) -> Built:
    """Load and adapt the network of `trial`: the same bits whenever it is called. Raises UserError."""
    from accelerate.utils import set_seed

    from loralab.engine.dropout import speed_up_dropout

    conditions = trial.conditions
    set_seed(trial.seed)  # before the model is built: its head and the adapters are drawn now
    loaded = conditions.task.load(conditions.model, tokenizer, data)
    fuse_activations(loaded.network)
    sha256 = _sha256(loaded.network, loaded.head) if loaded.head else None
    if conditions.gradient_checkpointing:
        _checkpoint_gradients(loaded.network)
    network = trial.method.adapt(loaded)
    loaded.network.disable_input_require_grads()  # PEFT (0.21) asks for them once more
    speed_up_dropout(network)
    return Built(network, Head(loaded.head, sha256, loaded.is_head_drawn))


def build_anew(ready: Ready, trial: Trial, meter: Meter) -> Any:
    """Return the network as the trial began with it, on the processor: the device may have no room for two."""
    with meter.phase("loading"):
        return build(trial, ready.tokenizer, ready.data).network


def _checkpoint_gradients(network: Any) -> None:
    """Keep few activations and compute the others again. The re-entrant form would need an input with a gradient."""
    # transformers 5 gives it another name, and 6 will drop the old one.
    enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise UserError(f"conditions.gradient_checkpointing: {error}") from None
    # For the re-entrant form, transformers (5.23) gives the embeddings a gradient: all frozen layers would go backward.
    network.disable_input_require_grads()


def _sha256(network: nn.Module, names: frozenset[str]) -> str:
    """Return a hash of the named parameters' values."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        if name in names:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(parameter.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
