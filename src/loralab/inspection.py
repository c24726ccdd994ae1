"""Adapting every arm's model once, untrained: what each would train, and every mistake before anything is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loralab.data import AnyData
from loralab.errors import MistakesError, UserError
from loralab.experiment import Experiment
from loralab.measure import count_parameters
from loralab.memory import is_out_of_memory
from loralab.methods import Method
from loralab.pretrained import load_tokenizer
from loralab.progress import Watch
from loralab.results import Parameters
from loralab.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def inspect_arms(experiment: Experiment, watch: Watch) -> dict[str, Parameters]:  # noqa: ARG001 - it is work, as trials are
    """Return the parameters of every arm.

    Raises MistakesError with all that the data, the model and the methods don't allow together: targets that the model
    lacks, ranks larger than a layer, more tokens than the model reads.
    """
    task, model = experiment.conditions.task, experiment.conditions.model
    data, tokenizer = task.read(), load_tokenizer(model)
    task.tokenise(data.validation, tokenizer)
    task.weights(data)
    found: dict[str, Parameters] = {}
    mistakes: list[str] = []
    for name, arm in experiment.arms.items():
        try:
            found[name] = _parameters(task, model, arm.method, tokenizer, data)
        except UserError as error:
            mistakes.append(f"arms.{name}.{error}")
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"model: {model} doesn't fit into the memory that is free here: {error}") from error
    if mistakes:
        raise MistakesError("the experiment", mistakes)
    return found


def _parameters(
    task: Task, model: str, method: Method, tokenizer: PreTrainedTokenizerBase, data: AnyData
) -> Parameters:
    """Load and adapt; the network is gone before the next one is loaded."""
    return count_parameters(method.adapt(task.load(model, tokenizer, data)))
