"""One optimizer step over its batches, each in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loralab.data.rows import Indices
from loralab.engine.batches import Step
from loralab.engine.optimise import Optimiser
from loralab.tasks import Task
from loralab.tasks.examples import Examples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from loralab.engine.prefix import FrozenPrefix


@dataclass(frozen=True)
class Taken:
    """What a step gave, as sums."""

    loss: float  # nats
    correct: int | None  # right answers; None where there are no labels
    terms: int  # of the loss: texts, or tokens of a language model


@dataclass(frozen=True)
class Stepper:
    """Takes training steps."""

    optimiser: Optimiser
    task: Task
    examples: Examples
    tokenizer: PreTrainedTokenizerBase
    weights: tuple[float, ...] | None  # of the labels in the loss
    micro_batch: int  # texts or blocks in a forward pass; a batch of more is cut up, with the same gradient
    prefix: FrozenPrefix

    def take(self, step: Step) -> Taken:
        """Train on the examples of `step`, with dropout on. Raises DivergedError where the loss is no finite number.

        The gradient is that of the mean over all terms of the step's loss, however its batches are cut up.
        """
        terms = int(sum(self.examples.take(batch).weights.sum() for batch in step.batches))
        loss = 0.0
        correct: int | None = 0
        for indices in self._parts(step):
            batch = self.task.collate(self.examples, indices, self.tokenizer)
            moved = {name: tensor.to(self.optimiser.device) for name, tensor in batch.items()}
            with self.optimiser.autocast(), self.prefix.used_for(indices, moved) as given:
                outcome = self.task.loss(self.optimiser.network, given, self.weights)
            self.optimiser.backward(outcome.loss / terms)
            loss += outcome.loss.item()
            correct = None if outcome.correct is None or correct is None else correct + int(outcome.correct)
        self.optimiser.step()
        return Taken(loss, correct, terms)

    def _parts(self, step: Step) -> Iterator[Indices]:
        for batch in step.batches:
            for start in range(0, len(batch), self.micro_batch):
                yield batch[start : start + self.micro_batch]
