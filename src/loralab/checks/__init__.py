"""What must be true of every final trial: frozen weights untouched, head saved, loaded again equal, merged equal.

A check is a function of what it looks at; it returns a Check, or None where its claim doesn't apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from loralab.checks.learning import loss, predictions
from loralab.checks.reloading import load_again, merged_logits, not_reloaded, probe, reloaded_logits
from loralab.checks.weights import frozen_weights, saved_head, saved_size, tied_weights, trained_weights
from loralab.engine.setup import Ready, build
from loralab.experiment import Trial
from loralab.progress import Progress, Watch
from loralab.results import Check, Measurement, Point, Saved, require_same_data
from loralab.tasks.items import Items

__all__ = ["not_reloaded", "of_saved", "of_trained", "probe"]


def of_trained(
    trial: Trial, ready: Ready, saved: Saved, folder: Path, curve: Sequence[Point], items: Items
) -> tuple[Check, ...]:
    """Check a trained network, and what of it was `saved` in the results folder `folder`.

    The network is built from its checkpoint once more and held against the trained one, so that there must be room for
    it twice; the optimizer's state is gone by then.
    """
    anew = cache(lambda: build(trial, ready.tokenizer, ready.data).network)
    found = (
        frozen_weights(ready.network, anew),
        trained_weights(ready.network, anew, ready.head.names),
        tied_weights(ready.network, anew),
        saved_head(ready.network, ready.head.names, folder / saved.folder),
        saved_size(saved.bytes, trial.method, ready.network),
        loss(curve),
        predictions(items),
    )
    return tuple(check for check in found if check is not None)


def of_saved(measurement: Measurement, folder: Path, watch: Watch) -> tuple[Check, ...]:
    """Check the model that a trial saved in the results folder `folder`. Call it in a process that never saw it.

    Raises UserError where the data can't be read any more, or are others: that says nothing about the model.
    """
    trial = measurement.trial
    watch(Progress(trial.id, "checking"))
    data = trial.conditions.task.read()
    require_same_data(measurement, data.sha256)
    again = cache(lambda: load_again(measurement, folder, data.test))
    found = [reloaded_logits(measurement.probe, again)]
    if trial.method.saves_adapter:
        found.append(merged_logits(again))  # the last one: it changes the model
    return tuple(check for check in found if check is not None)
