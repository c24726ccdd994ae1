"""Running a network over a whole split."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from loralab.engine.batches import evaluation_batches
from loralab.memory import in_parts_that_fit
from loralab.tasks import Task
from loralab.tasks.examples import Examples

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

BATCHES = 4  # evaluation keeps no activations, so its batches are so many times those of training


def predict(
    network: nn.Module,
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    told: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - the names tell what is passed
) -> npt.NDArray[np.float32]:
    """Return the network's outputs for every example, (examples, ...), in the order of the examples, dropout off.

    `batch_size` is that of training; `told` hears of the batches done and their total. Batches are halved where memory
    runs out, since evaluation should not decide how training is cut up.
    """
    was_training = network.training
    network.eval()
    try:
        work = partial(_predict, network, task, examples, tokenizer, told)
        return in_parts_that_fit(BATCHES * batch_size, work)
    finally:
        network.train(was_training)


def _predict(
    network: nn.Module,
    task: Task,
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    told: Callable[[int, int], None],
    size: int,
) -> npt.NDArray[np.float32]:
    import torch

    device = next(network.parameters()).device
    batches = evaluation_batches(examples.lengths, size)
    found: list[npt.NDArray[Any]] = []
    with torch.inference_mode():
        for done, indices in enumerate(batches, start=1):
            batch = {name: tensor.to(device) for name, tensor in task.collate(examples, indices, tokenizer).items()}
            found.append(task.outputs(network, batch).cpu().numpy())
            told(done, len(batches))
    outputs = np.zeros((len(examples), *found[0].shape[1:]), dtype=np.float32)  # the first batch is the longest
    for indices, part in zip(batches, found, strict=True):
        outputs[indices, : part.shape[1]] = part
    return outputs
