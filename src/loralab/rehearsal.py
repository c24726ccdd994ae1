"""A few real steps of a trial, timed, from which the whole of it is forecast."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from loralab.engine.batches import Indices, Step, evaluation_batches, training_steps
from loralab.engine.evaluation import BATCHES, predict
from loralab.engine.optimise import Optimiser
from loralab.engine.setup import Ready, set_up
from loralab.engine.stepping import Stepper
from loralab.experiment import Trial
from loralab.measure import Meter
from loralab.memory import free_memory, release_memory
from loralab.progress import Progress, Watch
from loralab.results import Failure, Parameters
from loralab.settings import Settings
from loralab.tasks.classification import Examples
from loralab.train import failure

TIMED = 10  # steps or batches, from short texts to long ones; more would make the forecast dearer than it is worth


class Rehearsal(Settings):
    """What a trial of one arm is expected to take."""

    parameters: Parameters
    training_seconds: float
    validation_seconds: float  # all validations of a trial together
    tuning_seconds: float  # scoring validation at the end of a tuning trial
    final_seconds: float  # scoring test at the end of a final trial
    setup_seconds: float  # reading, tokenising and loading
    training_memory: int | None  # bytes, above what was resident before the model was loaded
    evaluation_memory: int | None
    free_memory: int  # bytes that this machine had left before the model was loaded
    spent: float  # seconds of the rehearsal's own steps


def rehearse(trial: Trial, watch: Watch) -> Rehearsal | Failure:
    """Take a few steps of `trial`, the longest texts among them. Raises UserError for what the user can put right."""
    try:
        return _rehearse(trial, watch)
    except Exception as error:
        return failure(trial, error)


def _rehearse(trial: Trial, watch: Watch) -> Rehearsal:
    from accelerate import PartialState

    begun = time.perf_counter()
    free = free_memory()
    meter = Meter(PartialState().device)
    watch(Progress(trial.id, "loading"))
    ready = set_up(trial, meter)
    setup_seconds = time.perf_counter() - begun
    watch(Progress(trial.id, "training"))
    with meter.phase("training"):
        steps, training_seconds = _time_training(ready, trial)
    ready.network.zero_grad()
    release_memory()
    watch(Progress(trial.id, "evaluating"))
    with meter.phase("evaluation"):
        validation = _time_evaluation(ready, trial, "validation")
        test = _time_evaluation(ready, trial, "test")
    memory = meter.memory()
    return Rehearsal(
        parameters=ready.parameters,
        training_seconds=training_seconds,
        validation_seconds=validation * sum(step.validates for step in steps),
        tuning_seconds=validation,
        final_seconds=test,
        setup_seconds=setup_seconds,
        training_memory=memory.training,
        evaluation_memory=memory.evaluation,
        free_memory=free,
        spent=time.perf_counter() - begun - setup_seconds,
    )


def _time_training(ready: Ready, trial: Trial) -> tuple[list[Step], float]:
    """Return the steps of the trial and the seconds that all of them are expected to take."""
    conditions, train = trial.conditions, ready.splits["train"]
    steps = training_steps(train.lengths, conditions, trial.seed)
    optimiser = Optimiser(ready.network, trial, len(steps), ready.precision)
    stepper = Stepper(optimiser, conditions.task, train, ready.tokenizer, ready.weights, conditions.batch_size)
    sizes = [sum(_padded(batch, train.lengths) for batch in step.batches) for step in steps]
    optimiser.network.train()
    seconds = _extrapolate(sizes, lambda position: stepper.take(steps[position]))
    optimiser.unwrap()
    return steps, seconds


def _time_evaluation(ready: Ready, trial: Trial, split: str) -> float:
    """Return the seconds that scoring the whole split is expected to take."""
    examples, batch_size = ready.splits[split], trial.conditions.batch_size
    batches = evaluation_batches(examples.lengths, BATCHES * batch_size)
    sizes = [_padded(batch, examples.lengths) for batch in batches]

    def score(position: int) -> None:
        chosen: Examples = examples.take(batches[position])
        predict(ready.network, trial.conditions.task, chosen, ready.tokenizer, batch_size)

    return _extrapolate(sizes, score)


def _padded(batch: Indices, lengths: Indices) -> int:
    return int(len(batch) * lengths[batch].max())


def _extrapolate(sizes: Sequence[int], do: Callable[[int], object]) -> float:
    """Return the seconds that all of the pieces are expected to take, from doing a few of them.

    `sizes` are their padded tokens. The largest is done first and not timed: it warms up, and needs the most memory.
    The time of the others is read off between those of the timed ones, which lie evenly among the sizes.
    """
    order = np.argsort(sizes, kind="stable")
    do(int(order[-1]))
    ranks = np.unique(np.linspace(0, len(sizes) - 1, min(TIMED, len(sizes))).round().astype(int))
    timed = []
    for position in order[ranks]:
        begun = time.perf_counter()
        do(int(position))
        timed.append(time.perf_counter() - begun)
    return float(np.interp(sizes, np.asarray(sizes)[order[ranks]], timed).sum())
