"""What every tracker is told of a trial besides its curves."""

from __future__ import annotations

from loralab.experiment import Trial
from loralab.results import Failure, Measurement

Value = str | int | float | bool


def settings(trial: Trial) -> dict[str, Value]:
    """Return what the trial was: its arm, method, seed and rate, and the conditions that are numbers or words."""
    method = trial.method.model_dump(mode="json")
    conditions = trial.conditions.model_dump(mode="json", exclude={"task"})
    found = {
        "arm": trial.arm,
        "stage": trial.stage,
        "seed": trial.seed,
        "learning_rate": trial.learning_rate,
        **{f"method.{name}": value for name, value in method.items()},
        **conditions,
        "task": trial.conditions.task.kind,
        "data": trial.conditions.task.data.source,
    }
    plain = {name: ", ".join(map(str, one)) if isinstance(one, list) else one for name, one in found.items()}
    return {name: one for name, one in plain.items() if isinstance(one, str | int | float | bool)}


def outcome(result: Measurement | Failure) -> dict[str, float]:
    """Return what the trial came to: scores on test, or of a tuning trial on validation, and costs. A failure: none."""
    if isinstance(result, Failure):
        return {}
    found = {f"score/{name}": value for name, value in result.scores.items()}
    found["cost/training_seconds"] = result.seconds.training
    found["cost/trainable_parameters"] = float(result.parameters.trainable)
    if result.memory.training is not None:
        found["cost/training_bytes"] = float(result.memory.training)
    if result.saved is not None:
        found["cost/saved_bytes"] = float(result.saved.bytes)
    return found
