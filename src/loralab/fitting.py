"""The training loop: a network that is ready -> the same network, trained. Every arm takes the same steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loralab.engine.batches import order_sha256, training_steps
from loralab.engine.checkpoints import Checkpoints, Origin, Standing, Tensors, random_state, restore_random_state, where
from loralab.engine.evaluation import score
from loralab.engine.fast import fast_training, make_stepper
from loralab.engine.optimise import Optimiser
from loralab.engine.setup import Ready
from loralab.errors import LosingError
from loralab.experiment import Trial
from loralab.folder import ResultsFolder
from loralab.measure import Meter, environment
from loralab.memory import release_memory
from loralab.progress import Progress, Teller, Watch
from loralab.results import Course, Held, Point, Throughput

if TYPE_CHECKING:
    from torch import nn

CURVE_POINTS = 25  # about so many points on a trial's training curve
TRAINING_PHASES = ("training", "validation", "checkpointing")  # what a checkpoint has already spent


@dataclass(frozen=True)
class Fitted:
    """What training left behind, besides the network."""

    course: Course
    curve: tuple[Point, ...] = ()
    steps: int = 0
    texts: int = 0
    tokens: int = 0
    order_sha256: str | None = None
    held: Held | None = None

    @property
    def validation(self) -> dict[str, float]:
        """The scores of the step whose weights were kept; validation follows the last step at the latest."""
        kept = [point for point in self.curve if point.step == self.course.kept_step]
        return next(point.validation for point in kept if point.validation)

    def throughput(self, seconds: float) -> Throughput | None:
        """Return what a second of training got through, or None where nothing was trained."""
        if not self.steps:
            return None
        return Throughput(texts=self.texts / seconds, steps=self.steps / seconds, tokens=self.tokens / seconds)


def fit(ready: Ready, trial: Trial, folder: Path, meter: Meter, watch: Watch, micro_batch: int) -> Fitted:
    """Train the network in place; the untouched model stays as it is. Goes on from a checkpoint where there is one.

    Raises DivergedError, and LosingError where the experiment gives such a trial up.
    """
    if trial.learning_rate is None:
        return Fitted(Course(planned_steps=0, kept_step=0, micro_batch=micro_batch))
    origin = Origin(
        trial=trial,
        model_revision=ready.model_revision,
        tokenizer_revision=ready.tokenizer_revision,
        data_sha256=ready.data.sha256,
        micro_batch=micro_batch,
        precision=ready.precision,
        where=where(environment(ready.device, ready.precision)),
    )
    checkpoints = Checkpoints(ResultsFolder(folder).checkpoint_file(trial), origin)
    with fast_training(ready, trial, meter, is_used_after=trial.stage == "final"):
        fitted = _loop(ready, trial, folder, meter, watch, checkpoints, micro_batch)
    release_memory()  # what training held must be gone before the evaluation's memory is measured
    return fitted


def _loop(
    ready: Ready, trial: Trial, folder: Path, meter: Meter, watch: Watch, checkpoints: Checkpoints, micro_batch: int
) -> Fitted:
    conditions, train = trial.conditions, ready.splits["train"]
    steps = training_steps(train.lengths, conditions, trial.seed)
    stepper = make_stepper(ready, trial, folder, steps, micro_batch)
    optimiser = stepper.optimiser
    standing, best = _go_on(ready.network, optimiser, meter, checkpoints)
    telling, tokens_before = Teller(watch, trial, "training"), standing.tokens
    rivals = ResultsFolder(folder).best_validations(trial) if trial.may_be_given_up else {}
    points_every = max(1, len(steps) // CURVE_POINTS)
    with meter.phase("training"):
        for step in steps[standing.done :]:
            standing = standing.after(step.tokens(train.lengths), stepper.take(step))
            done = standing.done
            telling(done, len(steps), standing.mean_loss, standing.tokens - tokens_before)
            scores = None
            if step.validates:
                with meter.phase("validation"), optimiser.autocast():
                    telling_too = Teller(watch, trial, "validating")
                    items = score(ready, trial, ("validation",), micro_batch, telling_too, done)
                    scores = conditions.task.scores(items)
            if step.validates or done % points_every == 0:
                standing = standing.with_point(step.epoch, scores)
                watch(Progress(trial.id, "training", done, len(steps), point=standing.curve[-1]))
            if scores is not None:
                _give_up_if_losing(trial, done, scores, rivals)
            if scores is not None and conditions.early_stopping:
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
    held = optimiser.held()
    optimiser.unwrap()
    _put(ready.network, best)
    del optimiser, stepper
    ready.network.zero_grad()
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
        held=held,
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


def _give_up_if_losing(trial: Trial, step: int, scores: dict[str, float], rivals: dict[int, float]) -> None:
    """Raise LosingError where another learning rate was better by the factor that the conditions state."""
    factor, found = trial.conditions.give_up, scores[trial.conditions.task.tuning_metric]
    if factor is not None and step in rivals and found > factor * rivals[step]:
        raise LosingError(step, found, rivals[step])


def _trained(network: nn.Module) -> Tensors:
    """Return the weights that are being trained, by name."""
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}


def _put(network: nn.Module, weights: Tensors) -> None:
    """Put `weights` into the network in place, so that the optimizer still knows them."""
    import torch

    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
