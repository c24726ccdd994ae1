"""Adapting every arm's model once, untrained: what each would train, and every mistake before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loralab.data import AnyData
from loralab.errors import MistakesError, UserError
from loralab.experiment import Conditions, Experiment
from loralab.measure import count_parameters
from loralab.memory import is_out_of_memory
from loralab.methods import Method
from loralab.pretrained import Loaded, load_tokenizer
from loralab.progress import Watch
from loralab.results import Parameters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Subject:
    """What all arms adapt, and what they learn from."""

    conditions: Conditions
    data: AnyData
    tokenizer: PreTrainedTokenizerBase

    def load(self) -> Loaded:
        """Load the model anew."""
        return self.conditions.task.load(self.conditions.model, self.tokenizer, self.data)

    def parameters(self, method: Method) -> Parameters:
        """Load the model, adapt it and count; the network is gone before the next one is loaded."""
        return count_parameters(method.adapt(self.load()))


def read_subject(conditions: Conditions) -> Subject:
    """Read the data and the tokenizer. Raises UserError."""
    return Subject(conditions, conditions.task.read(), load_tokenizer(conditions.model))


def mistake_of(arm: str, error: UserError) -> str:
    """Name the arm before a mistake of its method; others are the model's or the task's."""
    return f"arms.{arm}.{error}" if str(error).startswith("method") else str(error)


@contextmanager
def memory_is_told(model: str) -> Iterator[None]:
    """Raise UserError where the memory runs out inside."""
    try:
        yield
    except Exception as error:  # libraries have many types for it; what isn't it is raised again
        if not is_out_of_memory(error):
            raise
        raise UserError(f"model: {model} doesn't fit into the memory that is free here: {error}") from error


def inspect_arms(experiment: Experiment, watch: Watch) -> dict[str, Parameters]:  # noqa: ARG001 - it is work, as trials are
    """Return the parameters of every arm.

    Raises MistakesError with all that the data, the model and the methods don't allow together: targets that the model
    lacks, ranks larger than a layer, more tokens than the model reads.
    """
    task, subject = experiment.conditions.task, read_subject(experiment.conditions)
    task.tokenise(subject.data.validation, subject.tokenizer)
    task.weights(subject.data)
    found: dict[str, Parameters] = {}
    mistakes: list[str] = []
    with memory_is_told(experiment.conditions.model):
        for name, arm in experiment.arms.items():
            try:
                found[name] = subject.parameters(arm.method)
            except UserError as error:
                mistakes.append(mistake_of(name, error))
    if mistakes:
        raise MistakesError("the experiment", list(dict.fromkeys(mistakes)))  # the model's are the same for all arms
    return found
