"""Adapting every arm's model once, untrained: what each would train, and every mistake before anything is spent."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loralab.data import AnyData
from loralab.engine.precision import check_precision
from loralab.errors import MistakesError, UserError
from loralab.experiment import Conditions, Experiment
from loralab.measure import count_parameters
from loralab.memory import memory_told_as
from loralab.methods import Method
from loralab.pretrained import Loaded, load_tokenizer, most_positions
from loralab.results import Parameters
from loralab.tasks import Classification, Task
from loralab.tasks.examples import Examples

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


def memory_is_told(model: str) -> AbstractContextManager[None]:
    """Raise UserError where the memory runs out inside."""
    told = f"model: {model} doesn't fit into the memory that is free here"
    return memory_told_as(lambda error: UserError(f"{told}: {error}"))


def inspect_arms(experiment: Experiment) -> dict[str, Parameters]:
    """Return the parameters of every arm.

    Raises MistakesError with all that the data, the model and the methods don't allow together: targets that the model
    lacks, ranks larger than a layer, more tokens than the model reads, tokens that it doesn't know.
    """
    task, subject = experiment.conditions.task, read_subject(experiment.conditions)
    examples = task.tokenise(subject.data.validation, subject.tokenizer)
    task.weights(subject.data)
    found: dict[str, Parameters] = {}
    mistakes: list[str] = []
    with memory_is_told(experiment.conditions.model):
        for name, arm in experiment.arms.items():
            try:
                found[name] = _inspected(subject, arm.method, examples)
            except UserError as error:
                mistakes.append(mistake_of(name, error))
    if mistakes:
        raise MistakesError("the experiment", list(dict.fromkeys(mistakes)))  # the model's are the same for all arms
    return found


def _inspected(subject: Subject, method: Method, examples: Examples) -> Parameters:
    """Adapt a model; the network is gone before the next one is loaded."""
    loaded = subject.load()
    check_precision(subject.conditions, loaded.network.config.model_type)
    _check_tokens(loaded, examples, subject)
    network = method.adapt(loaded)
    _check_positions(network, loaded, subject.conditions.task)
    return count_parameters(network)


def _check_tokens(loaded: Loaded, examples: Examples, subject: Subject) -> None:
    """Raise UserError where the tokenizer makes tokens, or padding, for which the model has no embedding."""
    known = loaded.network.get_input_embeddings().num_embeddings
    padding = subject.tokenizer.pad_token_id if isinstance(subject.conditions.task, Classification) else None
    highest = max(examples.highest_token, padding or 0)
    if highest >= known:
        raise UserError(
            f"model: its tokenizer makes token {highest} of the data or of padding, and it has {known} embeddings\n"
            "  give the model its own tokenizer, or embeddings for all tokens (resize_token_embeddings), and save it"
        )


def _check_positions(network: Any, loaded: Loaded, task: Task) -> None:
    """Raise UserError where a method's prompt leaves too few positions for the longest text."""
    prompt = getattr(getattr(network, "active_peft_config", None), "num_virtual_tokens", None)
    most = most_positions(loaded.network)
    if prompt and most is not None and prompt + task.longest > most:
        raise UserError(
            f"method.num_virtual_tokens: {prompt} and the {task.longest} tokens of a text are more than the {most} "
            f"positions of this model; set task.{task.length_setting} to {most - prompt} or less"
        )
