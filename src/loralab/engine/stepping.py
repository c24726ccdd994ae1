"""One optimizer step over its batches, each in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loralab.engine.batches import Indices, Step
from loralab.engine.optimise import Optimiser
from loralab.tasks import Task
from loralab.tasks.classification import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Stepper:
    """Takes training steps."""

    optimiser: Optimiser
    task: Task
    examples: Examples
    tokenizer: PreTrainedTokenizerBase
    weights: tuple[float, ...] | None  # of the labels in the loss
    micro_batch: int  # texts in a forward pass; a batch of more is cut up, with the same gradient

    def take(self, step: Step) -> tuple[float, int]:
        """Train on the texts of `step`; return their summed loss in nats and how many were right, with dropout on.

        Raises DivergedError where the loss is no finite number.
        """
        loss, correct = 0.0, 0
        for indices in self._parts(step):
            batch = self.task.collate(self.examples, indices, self.tokenizer)
            moved = {name: tensor.to(self.optimiser.device) for name, tensor in batch.items()}
            outcome = self.task.loss(self.optimiser.network, moved, self.weights)
            self.optimiser.backward(outcome.loss / step.texts)  # the mean over the step's texts, however it is cut up
            loss, correct = loss + outcome.loss.item(), correct + int(outcome.correct)
        self.optimiser.step()
        return loss, correct

    def _parts(self, step: Step) -> Iterator[Indices]:
        for batch in step.batches:
            for start in range(0, len(batch), self.micro_batch):
                yield batch[start : start + self.micro_batch]
