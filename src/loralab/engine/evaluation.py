"""Running a network over a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from loralab.engine.batches import evaluation_batches
from loralab.engine.setup import Ready
from loralab.errors import DivergedError
from loralab.experiment import Trial
from loralab.memory import in_parts_that_fit, trim_heap
from loralab.progress import Teller
from loralab.tasks import Task
from loralab.tasks.examples import Examples
from loralab.tasks.items import Items

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

BATCHES = 4  # evaluation keeps no activations, so its batches are so many times those of training
# On a processor, what a layer makes of more tokens leaves the caches, and is memory asked of the system anew each time:
# through DistilBERT, batches of 8,192 tokens take a quarter longer than those of 2,048 (`benchmarks/evaluation.py`).
PROCESSOR_TOKENS = 2048
# Batches of unlike lengths leave holes in glibc's heap: without this, 5,000 reviews of IMDb took from 0.3 to 3.8 GB.
TRIM_EVERY = 16


def score(ready: Ready, trial: Trial, sets: Sequence[str], micro_batch: int, telling: Teller, step: int) -> Items:
    """Return what the network, after so many steps, makes of every item of `sets`. Raises DivergedError."""
    task, batch_tokens = trial.conditions.task, trial.conditions.batch_tokens
    outputs = {
        name: predict(ready.network, task, ready.splits[name], ready.tokenizer, micro_batch, batch_tokens, telling)
        for name in sets
    }
    for found in outputs.values():
        _require_finite(found, step)
    return task.items({name: (ready.splits[name], found) for name, found in outputs.items()})


def _require_finite(outputs: npt.NDArray[np.float32], step: int) -> None:
    """Raise DivergedError where an output is no finite number: the weights no longer are either."""
    broken = outputs[~np.isfinite(outputs)]
    if len(broken):
        raise DivergedError(step, float(broken[0]), "an output")


def scored_at_once(device: torch.device, batch_tokens: int | None) -> int | None:
    """Return the most tokens of a batch in evaluation, padded, from those in training; None is no limit."""
    asked = [] if batch_tokens is None else [BATCHES * batch_tokens]
    best = [PROCESSOR_TOKENS] if device.type == "cpu" else []
    return min(asked + best, default=None)


def predict(
    network: nn.Module,
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    batch_tokens: int | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - the names tell what is passed
) -> npt.NDArray[np.float32]:
    """Return the network's outputs for every example, (examples, ...), in the order of the examples, dropout off.

    `batch_size` and `batch_tokens` are those of training; `told` hears of the batches done and their total. Batches are
    halved where memory runs out, since evaluation should not decide how training is cut up.
    """
    in_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        work = partial(_predict, network, task, examples, tokenizer, batch_tokens, told)
        return in_parts_that_fit(BATCHES * batch_size, work)
    finally:
        for module in in_training:
            module.training = True


def _predict(
    network: nn.Module,
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    batch_tokens: int | None,
    told: Callable[[int, int], None],
    size: int,
) -> npt.NDArray[np.float32]:
    import torch

    device = next(network.parameters()).device
    batches = evaluation_batches(examples.lengths, size, scored_at_once(device, batch_tokens))
    found: list[npt.NDArray[Any]] = []
    with torch.inference_mode():
        for done, indices in enumerate(batches, start=1):
            batch = {name: tensor.to(device) for name, tensor in task.collate(examples, indices, tokenizer).items()}
            found.append(task.outputs(network, batch).cpu().numpy())
            told(done, len(batches))
            if done % TRIM_EVERY == 0:
                trim_heap()
    outputs = np.zeros((len(examples), *found[0].shape[1:]), dtype=np.float32)  # the first batch is the longest
    for indices, part in zip(batches, found, strict=True):
        outputs[indices, : part.shape[1]] = part
    return outputs
