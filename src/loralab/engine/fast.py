"""What holds for a network while it is trained, or scored, and no longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loralab.engine.batches import Step
from loralab.engine.frozen import frozen_weights_light
from loralab.engine.optimise import Optimiser
from loralab.engine.setup import Ready, build_anew
from loralab.engine.stepping import Stepper
from loralab.experiment import Conditions, Trial
from loralab.measure import Meter
from loralab.methods import HeadOnly, Method, Untouched

if TYPE_CHECKING:
    import torch
    from torch import nn


def begin_training(network: nn.Module, method: Method | Untouched) -> None:
    """Put the network into training mode. What a head alone is trained on is fixed: no dropout below it."""
    network.train()
    if isinstance(method, HeadOnly):
        for module in network.modules():
            trained = [weight.requires_grad for weight in module.parameters()]
            if trained and not any(trained):
                module.eval()


def make_stepper(ready: Ready, trial: Trial, folder: Path, steps: Sequence[Step], micro_batch: int) -> Stepper:
    """Return what takes the training `steps` of the network that is ready, now in training mode.

    What frozen layers make of the training texts is kept in a file in the results folder `folder` meanwhile, where the
    texts come again.
    """
    from loralab.engine.prefix import FrozenPrefix

    conditions, train = trial.conditions, ready.splits["train"]
    optimiser = Optimiser(ready.network, trial, len(steps), ready.precision)
    limit = round(conditions.frozen_cache * 1e9)
    prefix = FrozenPrefix(
        ready.network, train.lengths, folder / "checkpoints", limit, texts_come_again=steps[-1].epoch > 1
    )
    begin_training(optimiser.network, trial.method)
    return Stepper(optimiser, conditions.task, train, ready.tokenizer, ready.weights, micro_batch, prefix)


@contextmanager
def fast_training(ready: Ready, trial: Trial, meter: Meter, *, is_used_after: bool) -> Iterator[None]:
    """Make the network that is ready light and fast to train inside.

    `is_used_after`: whether it must be as it was afterwards, which takes building it anew.
    """
    # These need torch, which planning must not load.
    from loralab.engine.adapters import adapters_in_one
    from loralab.engine.attention import attention_in_pieces
    from loralab.engine.casts import inputs_cast_once

    anew = partial(build_anew, ready, trial, meter) if is_used_after else None
    with (
        frozen_weights_light(ready.network, trial.method, ready.precision, anew),
        attention_in_pieces(ready.network, ready.device),
        adapters_in_one(ready.network, ready.device),
        inputs_cast_once(ready.network, ready.device),
    ):
        yield


@contextmanager
def fast_evaluation(ready: Ready, conditions: Conditions) -> Iterator[None]:
    """Make the network that is ready fast to score inside, in float32 if nothing else was asked for."""
    from loralab.engine.adapters import adapters_merged
    from loralab.engine.attention import attention_in_pieces

    rounded = _rounded(ready.network, ready.device) if conditions.scoring == "bfloat16" else nullcontext()
    with attention_in_pieces(ready.network, ready.device), adapters_merged(ready.network), rounded:
        yield


@contextmanager
def _rounded(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 inside, every weight rounded once: autocast keeps rounded copies of those alone that require
    a gradient (torch 2.13, `cached_cast`), and would round all others in every batch."""
    import torch

    frozen = [one for one in network.parameters() if one.is_floating_point() and not one.requires_grad]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        with torch.autocast(device.type, torch.bfloat16):
            yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
