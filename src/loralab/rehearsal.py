"""A few real steps of a trial, timed, from which the whole of it is forecast."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import numpy as np

from loralab.data.rows import Indices
from loralab.engine.batches import Step, evaluation_batches, training_steps
from loralab.engine.evaluation import BATCHES, predict, scored_at_once
from loralab.engine.fast import fast_evaluation, fast_training, make_stepper
from loralab.engine.setup import Ready, set_up
from loralab.errors import UserError, told_as
from loralab.experiment import Trial
from loralab.failures import attempted, is_full_disk
from loralab.measure import Meter
from loralab.memory import free_on, in_parts_that_fit, release_memory
from loralab.methods import Untouched
from loralab.progress import Progress, Watch
from loralab.results import Failure, Parameters
from loralab.settings import Settings

TIMED = 10  # steps or batches, from short texts to long ones; more would make the forecast dearer than it is worth


class Rehearsal(Settings):
    """What a trial of one arm is expected to take."""

    parameters: Parameters
    training_seconds: float
    validation_seconds: float  # all validations of a trial together
    final_seconds: float  # scoring test at the end of a final trial
    saving_seconds: float  # writing its model
    training_memory: int | None  # bytes, above what was resident before the model was loaded
    evaluation_memory: int | None
    free_memory: int  # bytes that were left before the model was loaded
    micro_batch: int  # texts in a forward pass: fewer than the batch size where memory ran out
    spent: float  # seconds of the rehearsal after setting up


def rehearse(trial: Trial, folder: Path, watch: Watch) -> Rehearsal | Failure:
    """Take a few steps of `trial`, the longest texts among them. Raises UserError for what the user can put right.

    `folder` keeps the tokens for the rehearsals to come.
    """
    work = partial(_rehearse, trial, folder, watch)
    return attempted(trial, lambda: in_parts_that_fit(trial.conditions.batch_size, work))


def _rehearse(trial: Trial, folder: Path, watch: Watch, micro_batch: int) -> Rehearsal:
    from accelerate import PartialState

    device = PartialState().device
    free = free_on(device)
    meter = Meter(device)
    watch(Progress(trial.id, "loading"))
    ready = set_up(trial, folder, meter)
    set_up_at = time.perf_counter()
    watch(Progress(trial.id, "training"))
    with fast_training(ready, trial, meter, is_used_after=True):
        steps, training, validation = _train_and_validate(ready, trial, folder, meter, micro_batch)
    ready.network.zero_grad()
    release_memory()
    watch(Progress(trial.id, "evaluating"))
    with fast_evaluation(ready, trial.conditions), meter.phase("evaluation"):
        final = sum(_time_evaluation(ready, trial, name, micro_batch) for name in trial.conditions.task.final_sets)
    memory = meter.memory()
    return Rehearsal(
        parameters=ready.parameters,
        training_seconds=training,
        validation_seconds=validation * sum(step.validates for step in steps),
        final_seconds=final,
        saving_seconds=_time_saving(ready, trial),
        training_memory=memory.training,
        evaluation_memory=memory.evaluation,
        free_memory=free,
        micro_batch=micro_batch,
        spent=time.perf_counter() - set_up_at,
    )


def _train_and_validate(
    ready: Ready, trial: Trial, folder: Path, meter: Meter, micro_batch: int
) -> tuple[list[Step], float, float]:
    """Return the steps of the trial, the seconds that they will take, and those of one validation among them."""
    train = ready.splits["train"]
    steps = training_steps(train.lengths, trial.conditions, trial.seed)
    stepper = make_stepper(ready, trial, folder, steps, micro_batch)
    first_epoch = [step for step in steps if step.epoch <= 1]
    sizes = [sum(_padded(batch, train.lengths) for batch in step.batches) for step in first_epoch]
    epochs = len(steps) / len(first_epoch)
    with meter.phase("training"):
        # Where the largest step's texts are kept once they were seen, doing it again would time a look into a file.
        take = partial(_extrapolate, sizes, lambda position: stepper.take(steps[position]), times_largest=False)
        seconds = take()
        # What frozen layers made of the texts may be kept: then the same steps take less in the epochs to come.
        later = take() if stepper.prefix.keeps else seconds
    with meter.phase("validation"), stepper.optimiser.autocast():
        validation = _time_evaluation(ready, trial, "validation", micro_batch)
    stepper.optimiser.unwrap()
    return steps, seconds + (epochs - 1) * later, validation


def _time_evaluation(ready: Ready, trial: Trial, split: str, micro_batch: int) -> float:
    """Return the seconds that scoring the whole split is expected to take."""
    examples = ready.splits[split]
    batch_tokens = trial.conditions.batch_tokens
    tokens = scored_at_once(ready.device, batch_tokens)
    batches = evaluation_batches(examples.lengths, BATCHES * micro_batch, tokens)
    sizes = [_padded(batch, examples.lengths) for batch in batches]

    def score(position: int) -> None:
        batch = examples.take(batches[position])
        predict(ready.network, trial.conditions.task, batch, ready.tokenizer, micro_batch, batch_tokens)

    return _extrapolate(sizes, score)


def _time_saving(ready: Ready, trial: Trial) -> float:
    """Return the seconds that saving the model takes."""
    begun = time.perf_counter()
    if not isinstance(trial.method, Untouched):
        full = (
            f"{gettempdir()} has no room for the model that is saved there once, to forecast how long it takes; "
            "the variable TMPDIR names another place"
        )
        with told_as(is_full_disk, lambda _: UserError(full)), TemporaryDirectory() as folder:
            trial.method.save(ready.network, Path(folder))
    return time.perf_counter() - begun


def _padded(batch: Indices, lengths: Indices) -> int:
    return int(len(batch) * lengths[batch].max())


def _extrapolate(sizes: Sequence[int], do: Callable[[int], object], *, times_largest: bool = True) -> float:
    """Return the seconds that all of the pieces are expected to take, from doing a few of them.

    `sizes` are their padded tokens. The largest is done first and not timed: it warms up, and needs the most memory;
    whether it is done again, and timed then, is for `times_largest` to say, unless there is no other. The time of the
    others is read off between those of the timed ones, which lie evenly among the sizes.
    """
    order = np.argsort(sizes, kind="stable")
    do(int(order[-1]))
    last = len(sizes) - (1 if times_largest or len(sizes) == 1 else 2)
    ranks = np.unique(np.linspace(0, last, min(TIMED, last + 1)).round().astype(int))
    timed = []
    for position in order[ranks]:
        begun = time.perf_counter()
        do(int(position))
        timed.append(time.perf_counter() - begun)
    # Pieces of one size have one time, the mean of those that were timed.
    known, group = np.unique(np.asarray(sizes)[order[ranks]], return_inverse=True)
    means = np.bincount(group, weights=timed) / np.bincount(group)
    return float(np.interp(sizes, known, means).sum())
