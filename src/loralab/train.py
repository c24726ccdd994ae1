"""One Trial -> one Measurement: read, load, adapt, train, score, save. The same straight line for every arm."""

from __future__ import annotations

import hashlib
import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loralab.engine.batches import order_sha256, training_epochs
from loralab.engine.evaluation import predict
from loralab.engine.optimise import Optimiser
from loralab.engine.precision import choose_precision
from loralab.errors import DivergedError, UserError
from loralab.experiment import Trial
from loralab.folder import ResultsFolder
from loralab.measure import Meter, bytes_in, count_parameters, environment, release_memory
from loralab.methods import Untouched
from loralab.pretrained import load_tokenizer
from loralab.progress import Activity, Progress, Watch
from loralab.results import DataFacts, Failure, Measurement, Point, Sameness, Saved, Seconds, Throughput
from loralab.tasks.classification import Examples

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

Splits = Mapping[str, Examples]

CURVE_POINTS = 50  # about so many points on a trial's training curve
TELL_EVERY = 0.5  # seconds between two words of progress


def attempt(trial: Trial, folder: Path, watch: Watch) -> Measurement | Failure:
    """Carry out `trial`; turn what goes wrong into a Failure. Raises UserError for what the user can put right."""
    import torch

    try:
        return carry_out(trial, folder, watch)
    except UserError:
        raise
    except DivergedError as error:
        return Failure(trial=trial, reason="diverged", message=str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Failure(trial=trial, reason="out of memory", message=str(error))
    except Exception as error:
        # PyTorch has no type of its own for a refused allocation on the CPU.
        reason = "out of memory" if "can't allocate memory" in str(error) else "crashed"
        trace = traceback.format_exc() if reason == "crashed" else None
        return Failure.model_validate({"trial": trial, "reason": reason, "message": repr(error), "traceback": trace})


def carry_out(trial: Trial, folder: Path, watch: Watch) -> Measurement:
    """Carry out `trial` and keep a final trial's model in the results folder `folder`."""
    from accelerate import PartialState
    from accelerate.utils import set_seed

    conditions, task = trial.conditions, trial.conditions.task
    device = PartialState().device
    precision = choose_precision(conditions.precision, device)
    meter = Meter(device)
    watch(Progress(trial.id, "loading"))
    with meter.phase("reading"):
        data = task.read()
    with meter.phase("tokenising"):
        tokenizer = load_tokenizer(conditions.model)
        rows = {"train": data.train, "validation": data.validation, "test": data.test}
        splits = {name: task.tokenise(split, tokenizer) for name, split in rows.items()}
    meter.mark_resident()
    with meter.phase("loading"):
        set_seed(trial.seed)  # before the model is built: its head and the adapters are drawn now
        loaded = task.load(conditions.model, tokenizer, data.label_names)
        head_sha256 = _sha256(loaded.network, loaded.head)
        network: Any = trial.method.adapt(loaded)
        parameters = count_parameters(network)
        network.to(device)
        set_seed(trial.seed)  # whatever a method drew above, all arms begin training from one random state
    fitted = (
        Fitted() if trial.learning_rate is None else _fit(network, splits, tokenizer, trial, precision, meter, watch)
    )
    is_final = trial.stage == "final"
    scored = splits["test" if is_final else "validation"]
    with meter.phase("evaluation"):
        telling = _Telling(watch, trial, "evaluating")
        items = task.items(scored, predict(network, task, scored, tokenizer, conditions.batch_size, telling))
        scores = task.scores(items, len(data.label_names))
    saved = None
    if is_final and not isinstance(trial.method, Untouched):
        watch(Progress(trial.id, "saving"))
        with meter.phase("saving"):
            saved = _save(network, tokenizer, trial, folder)
    seconds = Seconds(**{name: meter.seconds(name) for name in Seconds.model_fields})
    return Measurement(
        trial=trial,
        scores=scores,
        items=items if is_final else None,
        confusion=task.confusion(items, len(data.label_names)) if is_final else None,
        curve=fitted.curve,
        seconds=seconds,
        memory=meter.memory(),
        throughput=fitted.throughput(seconds.training),
        parameters=parameters,
        saved=saved,
        data=DataFacts(
            sha256=data.sha256(),
            label_names=data.label_names,
            rows={name: len(split) for name, split in splits.items()},
            truncated={name: split.truncated / len(split) for name, split in splits.items()},
            shared=data.flaws.shared,
            dropped=data.flaws.dropped,
            without_text=dict(data.flaws.without_text),
        ),
        sameness=Sameness(
            head_sha256=head_sha256, order_sha256=fitted.order_sha256, steps=fitted.steps, tokens=fitted.tokens
        ),
        environment=environment(device, precision),
    )


@dataclass(frozen=True)
class Fitted:
    """What training left behind, besides the network."""

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


def _fit(
    network: nn.Module,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    trial: Trial,
    precision: str,
    meter: Meter,
    watch: Watch,
) -> Fitted:
    """Train `network` in place."""
    conditions, task, train = trial.conditions, trial.conditions.task, splits["train"]
    lengths = train.lengths
    epochs = training_epochs(
        lengths, conditions.batch_size, conditions.accumulation, conditions.epochs, conditions.steps, trial.seed
    )
    total = sum(len(epoch) for epoch in epochs)
    assert trial.learning_rate is not None
    optimiser = Optimiser(network, conditions, trial.learning_rate, total, precision)
    running = _Running()
    curve: list[Point] = []
    telling = _Telling(watch, trial, "training")
    done, texts, tokens = 0, 0, 0
    optimiser.network.train()
    with meter.phase("training"):
        for past, epoch in enumerate(epochs):
            validations = _spread(len(epoch), conditions.validations_per_epoch)
            for position, step in enumerate(epoch, start=1):
                count = sum(len(indices) for indices in step)
                for indices in step:
                    batch = {
                        name: tensor.to(optimiser.device)
                        for name, tensor in task.collate(train, indices, tokenizer).items()
                    }
                    outcome = task.loss(optimiser.network, batch)
                    optimiser.backward(outcome.loss / count)  # the mean over the step's texts, however it is cut up
                    running.add(len(indices), outcome.loss.item(), int(outcome.correct))
                optimiser.step()
                done, texts = done + 1, texts + count
                tokens += int(sum(lengths[indices].sum() for indices in step))
                telling(done, total, loss=running.latest, tokens=tokens)
                if position in validations or done % max(1, total // CURVE_POINTS) == 0:
                    validation = None
                    if position in validations:
                        with meter.phase("validation"):
                            validation = _validate(optimiser.network, splits["validation"], tokenizer, trial, watch)
                    curve.append(running.point(done, past + position / len(epoch), validation))
    optimiser.unwrap()
    del optimiser
    network.zero_grad()
    release_memory()  # the optimizer's state must be gone before the evaluation's memory is measured
    return Fitted(tuple(curve), done, texts, tokens, order_sha256(epochs, train.ids))


def _validate(
    network: nn.Module, examples: Examples, tokenizer: PreTrainedTokenizerBase, trial: Trial, watch: Watch
) -> dict[str, float]:
    task = trial.conditions.task
    telling = _Telling(watch, trial, "validating")
    logits = predict(network, task, examples, tokenizer, trial.conditions.batch_size, telling)
    return task.scores(task.items(examples, logits), logits.shape[1])


def _spread(steps: int, times: int) -> set[int]:
    """Return the steps of an epoch after which to validate: evenly spread, the last one always among them."""
    return {max(1, round(steps * (k + 1) / times)) for k in range(times)}


class _Running:
    """Training loss and accuracy since the last point of the curve."""

    def __init__(self) -> None:
        self.latest = 0.0  # mean loss of the latest batch, in nats a text
        self._texts, self._loss, self._correct = 0, 0.0, 0

    def add(self, texts: int, loss: float, correct: int) -> None:
        self.latest = loss / texts
        self._texts, self._loss, self._correct = self._texts + texts, self._loss + loss, self._correct + correct

    def point(self, step: int, epoch: float, validation: dict[str, float] | None) -> Point:
        point = Point(
            step=step,
            epoch=epoch,
            training_loss=self._loss / self._texts,
            training_accuracy=self._correct / self._texts,
            validation=validation,
        )
        self._texts, self._loss, self._correct = 0, 0.0, 0
        return point


class _Telling:
    """Tells of progress, but not more often than a person can read."""

    def __init__(self, watch: Watch, trial: Trial, activity: Activity) -> None:
        self._watch, self._trial, self._activity = watch, trial, activity
        self._begun = self._told = time.perf_counter()

    def __call__(self, done: int, total: int, loss: float | None = None, tokens: int | None = None) -> None:
        now = time.perf_counter()
        if now - self._told >= TELL_EVERY or done == total:
            speed = None if tokens is None else tokens / (now - self._begun)
            self._watch(Progress(self._trial.id, self._activity, done, total, loss, speed))
            self._told = now


def _save(network: Any, tokenizer: PreTrainedTokenizerBase, trial: Trial, folder: Path) -> Saved:
    """Write model and tokenizer, whole or not at all."""
    assert not isinstance(trial.method, Untouched)
    target = ResultsFolder(folder).model_folder(trial)
    draft = target.with_name(f".{target.name}")
    for leftover in (draft, target):  # of a trial that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    trial.method.save(network, draft)
    size = bytes_in(draft)
    tokenizer.save_pretrained(draft)
    draft.rename(target)
    relative = target.relative_to(folder).as_posix()
    lines = trial.conditions.task.loading_lines(network, relative, adapter=trial.method.saves_adapter)
    return Saved(folder=relative, bytes=size, loading=lines)


def _sha256(network: nn.Module, names: frozenset[str]) -> str:
    """Return a hash of the named parameters' values."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        if name in names:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(parameter.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
