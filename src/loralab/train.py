"""One Trial -> one Measurement: set up, train, score, save. The same straight line for every arm."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from loralab.checks import of_trained, probe
from loralab.engine.batches import order_sha256, training_steps
from loralab.engine.checkpoints import (
    Checkpoints,
    Standing,
    Tensors,
    micro_batch_of,
    random_state,
    restore_random_state,
)
from loralab.engine.evaluation import predict
from loralab.engine.frozen import frozen_weights_light
from loralab.engine.optimise import Optimiser
from loralab.engine.setup import Ready, build_anew, set_up
from loralab.engine.stepping import Stepper
from loralab.errors import DivergedError
from loralab.experiment import Trial
from loralab.failures import attempted
from loralab.folder import ResultsFolder
from loralab.measure import Meter, bytes_in, environment
from loralab.memory import in_parts_that_fit, release_memory
from loralab.methods import Untouched
from loralab.pretrained import revision
from loralab.progress import Progress, Teller, Watch
from loralab.results import (
    Check,
    Course,
    DataFacts,
    Failure,
    Measurement,
    Point,
    Sameness,
    Saved,
    Seconds,
    Throughput,
)
from loralab.tasks.items import Items

if TYPE_CHECKING:
    from torch import nn

CURVE_POINTS = 25  # about so many points on a trial's training curve
TRAINING_PHASES = ("training", "validation", "checkpointing")  # what a checkpoint has already spent


def attempt(trial: Trial, folder: Path, watch: Watch) -> Measurement | Failure:
    """Carry out `trial`; turn what goes wrong into a Failure. Raises UserError for what the user can put right.

    Where memory runs out, the trial is begun again with half as many texts in a forward pass; a step's texts, and so
    its gradient, stay the same.
    """
    begun_with = micro_batch_of(ResultsFolder(folder).checkpoint_file(trial), trial)
    work = partial(carry_out, trial, folder, watch)
    return attempted(trial, lambda: in_parts_that_fit(begun_with or trial.conditions.batch_size, work))


def carry_out(trial: Trial, folder: Path, watch: Watch, micro_batch: int) -> Measurement:
    """Carry out `trial` and keep a final trial's model in the results folder `folder`.

    `micro_batch`: texts in a forward pass. Goes on from a checkpoint where there is one.
    """
    from accelerate import PartialState

    task = trial.conditions.task
    meter = Meter(PartialState().device)
    watch(Progress(trial.id, "loading"))
    ready = set_up(trial, meter)
    data, splits, network = ready.data, ready.splits, ready.network
    fitted = Fitted(Course(planned_steps=0, kept_step=0, micro_batch=micro_batch))
    if trial.learning_rate is not None:
        file = ResultsFolder(folder).checkpoint_file(trial)
        checkpoints = Checkpoints(file, trial, data.sha256(), micro_batch)
        with frozen_weights_light(network, trial.method, ready.precision, partial(build_anew, ready, trial, meter)):
            fitted = _fit(ready, trial, meter, watch, checkpoints, micro_batch)
    is_final = trial.stage == "final"
    with meter.phase("evaluation"):
        telling = Teller(watch, trial, "evaluating")
        sets = task.final_sets if is_final else ("validation",)
        items = _score(ready, trial, sets, micro_batch, telling, fitted.steps)
        scores = task.scores(items)
    saved = None
    checks: tuple[Check, ...] = ()
    probed: list[float] = []
    if is_final and not isinstance(trial.method, Untouched):
        watch(Progress(trial.id, "saving"))
        with meter.phase("saving"):
            saved = _save(ready, trial, folder)
        watch(Progress(trial.id, "checking"))  # outside every phase, so that no figure holds it
        probed = probe(network, task, data.test, ready.tokenizer).tolist()
        checks = of_trained(trial, ready, saved, folder, fitted.curve, items)
    seconds = Seconds(**{name: meter.seconds(name) for name in Seconds.model_fields})
    return Measurement(
        trial=trial,
        scores=scores,
        items=items if is_final else None,
        confusion=task.confusion(items) if is_final else None,
        curve=fitted.curve,
        seconds=seconds,
        memory=meter.memory(),
        throughput=fitted.throughput(seconds.training),
        parameters=ready.parameters,
        saved=saved,
        data=DataFacts(
            sha256=data.sha256(),
            label_names=data.label_names,
            rows=data.counts(),
            tokens={name: split.tokens for name, split in splits.items()},
            truncated={name: split.truncated / len(split) for name, split in splits.items()},
            shared=data.flaws.shared,
            dropped=data.flaws.dropped,
            without_text=dict(data.flaws.without_text),
        ),
        sameness=Sameness(
            model_revision=revision(trial.conditions.model),
            head_sha256=ready.head_sha256,
            order_sha256=fitted.order_sha256,
            steps=fitted.steps,
            tokens=fitted.tokens,
        ),
        course=fitted.course,
        environment=environment(ready.device, ready.precision),
        checks=checks,
        probe=tuple(probed),
    )


@dataclass(frozen=True)
class Fitted:
    """What training left behind, besides the network."""

    course: Course
    curve: tuple[Point, ...] = ()
    steps: int = 0
    texts: int = 0
    tokens: int = 0
    order_sha256: str | None = None

    def throughput(self, seconds: float) -> Throughput | None:
        """Return what a second of training got through, or None where nothing was trained."""
        if not self.steps:
            return None
        return Throughput(texts=self.texts / seconds, steps=self.steps / seconds, tokens=self.tokens / seconds)


def _fit(ready: Ready, trial: Trial, meter: Meter, watch: Watch, checkpoints: Checkpoints, micro_batch: int) -> Fitted:
    """Train the network in place."""
    conditions, train = trial.conditions, ready.splits["train"]
    steps = training_steps(train.lengths, conditions, trial.seed)
    optimiser = Optimiser(ready.network, trial, len(steps), ready.precision)
    stepper = Stepper(optimiser, conditions.task, train, ready.tokenizer, ready.weights, micro_batch)
    standing, best = _go_on(ready.network, optimiser, meter, checkpoints)
    telling, tokens_before = Teller(watch, trial, "training"), standing.tokens
    points_every = max(1, len(steps) // CURVE_POINTS)
    optimiser.network.train()
    with meter.phase("training"):
        for step in steps[standing.done :]:
            standing = standing.after(step.tokens(train.lengths), stepper.take(step))
            done = standing.done
            telling(done, len(steps), standing.mean_loss, standing.tokens - tokens_before)
            if step.validates or done % points_every == 0:
                scores = None
                if step.validates:
                    with meter.phase("validation"), optimiser.autocast():
                        telling_too = Teller(watch, trial, "validating")
                        items = _score(ready, trial, ("validation",), micro_batch, telling_too, done)
                        scores = conditions.task.scores(items)
                standing = standing.with_point(step.epoch, scores)
            if step.validates and conditions.early_stopping:
                assert scores is not None
                standing = standing.judged(scores[conditions.task.tuning_metric])
                if standing.best_step == done:
                    best = {name: weight.to("cpu", copy=True) for name, weight in _trained(ready.network).items()}
                if standing.waited >= conditions.early_stopping:
                    break
            if checkpoints.are_due():
                with meter.phase("checkpointing"):
                    parts = {"weights": _trained(ready.network), "best": best}
                    parts |= {"optimizer": optimiser.state(), "random": random_state()}
                    checkpoints.write(standing, meter.spent(TRAINING_PHASES), parts)
    optimiser.unwrap()
    _put(ready.network, best)
    del optimiser, stepper
    ready.network.zero_grad()
    release_memory()  # the optimizer's state must be gone before the evaluation's memory is measured
    return Fitted(
        course=Course(
            planned_steps=len(steps),
            kept_step=standing.best_step or standing.done,
            micro_batch=micro_batch,
            resumed=standing.resumed,
        ),
        curve=standing.curve,
        steps=standing.done,
        texts=sum(step.texts for step in steps[: standing.done]),
        tokens=standing.tokens,
        order_sha256=order_sha256(steps, train.ids),
    )


def _go_on(
    network: nn.Module, optimiser: Optimiser, meter: Meter, checkpoints: Checkpoints
) -> tuple[Standing, Tensors]:
    """Return where training stands, and the best weights so far, after putting everything there if it was stopped."""
    kept = checkpoints.latest()
    if kept is None:
        return Standing(), {}
    _put(network, kept.part("weights"))
    optimiser.resume(kept.part("optimizer"), kept.standing.done)
    restore_random_state(kept.part("random"))
    meter.resume(kept.spent)
    return kept.standing.gone_on(), kept.part("best")


def _score(ready: Ready, trial: Trial, sets: Sequence[str], micro_batch: int, telling: Teller, step: int) -> Items:
    """Return what the network, after so many steps, makes of every item of `sets`. Raises DivergedError."""
    task = trial.conditions.task
    outputs = {
        name: predict(ready.network, task, ready.splits[name], ready.tokenizer, micro_batch, telling) for name in sets
    }
    for found in outputs.values():
        _require_finite(found, step)
    return task.items({name: (ready.splits[name], found) for name, found in outputs.items()})


def _trained(network: nn.Module) -> Tensors:
    """Return the weights that are being trained, by name."""
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}


def _put(network: nn.Module, weights: Tensors) -> None:
    """Put `weights` into the network in place, so that the optimizer still knows them."""
    import torch

    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name in weights:
                weight.copy_(weights[name])


def _require_finite(outputs: npt.NDArray[np.float32], step: int) -> None:
    """Raise DivergedError where an output is no finite number: the weights no longer are either."""
    broken = outputs[~np.isfinite(outputs)]
    if len(broken):
        raise DivergedError(step, float(broken[0]), "an output")


def _save(ready: Ready, trial: Trial, folder: Path) -> Saved:
    """Write model and tokenizer, whole or not at all."""
    assert not isinstance(trial.method, Untouched)
    target = ResultsFolder(folder).model_folder(trial)
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)  # of a trial that was killed
    draft.mkdir(parents=True)
    trial.method.save(ready.network, draft)
    size = bytes_in(draft)
    ready.tokenizer.save_pretrained(draft)
    shutil.rmtree(target, ignore_errors=True)  # of one that was killed before its result was kept
    draft.rename(target)
    relative = target.relative_to(folder).as_posix()
    lines = trial.conditions.task.loading_lines(ready.network, relative, adapter=trial.method.saves_adapter)
    return Saved(folder=relative, bytes=size, loading=lines)
