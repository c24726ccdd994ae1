"""Checks of a saved model: loaded as the report says, in a process that never saw it, it gives the same answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from loralab.checks.claim import Seen, claim
from loralab.data import AnyRows
from loralab.engine.evaluation import predict
from loralab.loading import load_saved
from loralab.methods.merging import NotMergeableError, merged
from loralab.results import MERGED, RELOADED, Check, Measurement
from loralab.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Logits = npt.NDArray[np.float32]

PROBE = 8  # test texts, the first ones
# How far two logits may lie apart, as a share of the largest one, or of 1 where all are smaller.
# The same weights on the same texts give the same bits, or, where a library adds in another order, nearly so: an
# adapter that was rewritten to twice its rank, a GPU.
RELOADED_TOLERANCE = 1e-5
# Merging rounds every weight of a layer anew, and each layer hands that on to the next.
MERGED_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Reloaded:
    """A saved model in a fresh process."""

    model: Any
    task: Task
    test: AnyRows  # the first ones
    tokenizer: PreTrainedTokenizerBase  # the saved one

    def logits(self, model: Any) -> Logits:
        """Return the logits that `model` gives for the probe."""
        return probe(model, self.task, self.test, self.tokenizer)


def probe(network: Any, task: Task, test: AnyRows, tokenizer: PreTrainedTokenizerBase) -> Logits:
    """Return the network's answers to the first of the test texts, (...): logits, or likelihoods of tokens.

    A document may take many windows; the first ones are enough.
    """
    examples = task.tokenise(test.take(range(min(PROBE, len(test)))), tokenizer)
    outputs = predict(network, task, examples.take(np.arange(min(PROBE, len(examples)))), tokenizer, PROBE)
    return task.comparable(outputs).ravel()


def load_again(measurement: Measurement, folder: Path, test: AnyRows) -> Reloaded:
    """Load the model that was saved in the results folder `folder` by carrying out the lines that the report prints."""
    model, tokenizer = load_saved(measurement, folder)
    return Reloaded(model, measurement.trial.conditions.task, test, tokenizer)


@claim(RELOADED)
def reloaded_logits(expected: Sequence[float], again: Callable[[], Reloaded]) -> Seen:
    """Compare the logits of the model that `again` loads with the `expected` ones, of the network that was saved."""
    reloaded = again()
    return agree(np.array(expected), reloaded.logits(reloaded.model), RELOADED_TOLERANCE)


def not_reloaded(why: str) -> Check:
    """Return the check of a saved model whose process ended before it gave an answer."""
    return Check(name=RELOADED, passed=False, seen=why)


@claim(MERGED)
def merged_logits(again: Callable[[], Reloaded]) -> Seen | None:
    """Merge the adapter into the model that `again` loads, and compare; not where PEFT can't merge, as with a prompt.

    It is merged in place: a copy would need the memory of another model, and nobody uses this one afterwards.
    """
    reloaded = again()
    expected = reloaded.logits(reloaded.model)
    try:
        plain = merged(reloaded.model)
    except NotMergeableError:
        return None
    return agree(expected, reloaded.logits(plain), MERGED_TOLERANCE)


def agree(expected: npt.NDArray[Any], found: npt.NDArray[Any], tolerance: float) -> Seen:
    """Return whether the logits lie as near to the expected ones as is allowed, and how near."""
    if expected.shape != found.shape:
        return False, f"logits of shape {found.shape} instead of {expected.shape}"
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max())
    return difference <= allowed, f"{found.size} logits, at most {difference:.1e} apart; {allowed:.1e} is allowed"
