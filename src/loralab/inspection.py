"""Adapting every arm's model once, untrained: what each would train, and every mistake before anything is spent."""

from __future__ import annotations

from loralab.errors import MistakesError, UserError
from loralab.experiment import Experiment
from loralab.measure import count_parameters
from loralab.pretrained import load_tokenizer
from loralab.progress import Watch
from loralab.results import Parameters


def inspect_arms(experiment: Experiment, watch: Watch) -> dict[str, Parameters]:  # noqa: ARG001 - it is work, as trials are
    """Return the parameters of every arm.

    Raises MistakesError with all that the data, the model and the methods don't allow together: targets that the model
    lacks, ranks larger than a layer, more tokens than the model reads.
    """
    task, model = experiment.conditions.task, experiment.conditions.model
    data, tokenizer = task.read(), load_tokenizer(model)
    task.tokenise(data.validation, tokenizer)
    task.weights(data.train, data.label_names)
    found: dict[str, Parameters] = {}
    mistakes: list[str] = []
    for name, arm in experiment.arms.items():
        loaded = task.load(model, tokenizer, data.label_names)
        try:
            found[name] = count_parameters(arm.method.adapt(loaded))
        except UserError as error:
            mistakes.append(f"arms.{name}.{error}")
    if mistakes:
        raise MistakesError("the experiment", mistakes)
    return found
