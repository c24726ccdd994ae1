"""One Trial -> one Measurement: set up, train, score, save. The same straight line for every arm."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loralab.checks import of_trained, probe
from loralab.engine.checkpoints import micro_batch_of
from loralab.engine.evaluation import score
from loralab.engine.fast import fast_evaluation
from loralab.engine.setup import Ready, set_up
from loralab.experiment import Trial
from loralab.failures import attempted
from loralab.fitting import Fitted, fit
from loralab.folder import ResultsFolder
from loralab.measure import Meter, bytes_in, environment
from loralab.memory import in_parts_that_fit
from loralab.methods import Untouched
from loralab.progress import Progress, Teller, Watch
from loralab.results import Check, DataFacts, Failure, Measurement, Sameness, Saved, Seconds
from loralab.tasks.items import Items

if TYPE_CHECKING:
    import torch


def attempt(trial: Trial, folder: Path, watch: Watch) -> Measurement | Failure:
    """Carry out `trial`; turn what goes wrong into a Failure. Raises UserError for what the user can put right.

    Where memory runs out, the trial is begun again with half as many texts in a forward pass; a step's texts, and so
    its gradient, stay the same.
    """
    return attempted(trial, lambda: carry_out(trial, folder, watch))


def carry_out(trial: Trial, folder: Path, watch: Watch, micro_batch: int | None = None) -> Measurement:
    """Carry out `trial` and keep a final trial's model in the results folder `folder`.

    `micro_batch`: texts in a forward pass, if not as many as in the checkpoint from which it goes on, or in a batch.
    """
    from accelerate import PartialState

    device = PartialState().device
    begun_with = micro_batch_of(ResultsFolder(folder).checkpoint_file(trial), trial, device)
    texts = micro_batch or begun_with or trial.conditions.batch_size
    trained = in_parts_that_fit(texts, partial(_train, trial, folder, watch, device))
    task, meter, ready, fitted = trial.conditions.task, trained.meter, trained.ready, trained.fitted
    data, splits, network = ready.data, ready.splits, ready.network
    items: Items | None = None
    saved = None
    checks: tuple[Check, ...] = ()
    probed: list[float] = []
    if trial.stage == "final":
        telling = Teller(watch, trial, "evaluating")
        with fast_evaluation(ready, trial.conditions), meter.phase("evaluation"):  # merging is no part of scoring
            items = score(ready, trial, task.final_sets, fitted.course.micro_batch, telling, fitted.steps)
    if items is not None and not isinstance(trial.method, Untouched):
        watch(Progress(trial.id, "saving"))
        with meter.phase("saving"):
            saved = _save(ready, trial, folder)
        watch(Progress(trial.id, "checking"))  # outside every phase, so that no figure holds it
        probed = probe(network, task, data.test, ready.tokenizer).tolist()
        checks = of_trained(trial, ready, saved, folder, fitted.curve, items)
    seconds = Seconds(**{name: meter.seconds(name) for name in Seconds.model_fields})
    return Measurement(
        trial=trial,
        scores=fitted.validation if items is None else task.scores(items),
        items=items,
        confusion=None if items is None else task.confusion(items),
        curve=fitted.curve,
        seconds=seconds,
        memory=meter.memory(fitted.held),
        throughput=fitted.throughput(seconds.training),
        parameters=ready.parameters,
        saved=saved,
        data=DataFacts(
            sha256=data.sha256,
            label_names=data.label_names,
            rows=data.counts(),
            tokens={name: split.tokens for name, split in splits.items()},
            truncated={name: split.truncated / len(split) for name, split in splits.items()},
            shared=data.flaws.shared,
            shared_validation=data.flaws.shared_validation,
            dropped=data.flaws.dropped,
            without_text=dict(data.flaws.without_text),
            without_label=dict(data.flaws.without_label),
        ),
        sameness=Sameness(
            model_revision=ready.model_revision,
            tokenizer_revision=ready.tokenizer_revision,
            head_sha256=ready.head.sha256,
            is_head_drawn=ready.head.is_drawn,
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
class _Trained:
    """A trial whose training is behind it."""

    meter: Meter
    ready: Ready
    fitted: Fitted


def _train(trial: Trial, folder: Path, watch: Watch, device: torch.device, micro_batch: int) -> _Trained:
    meter = Meter(device)
    watch(Progress(trial.id, "loading"))
    ready = set_up(trial, folder, meter)
    return _Trained(meter, ready, fit(ready, trial, folder, meter, watch, micro_batch))


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
