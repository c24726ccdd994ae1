"""Which arm to take: the cheapest of those that are not worse than the baseline by what matters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from loralab.experiment import Price
from loralab.methods import Lora, Untouched
from loralab.statistics.decisions import MarginAnswer
from loralab.statistics.ratios import Ratio
from loralab.summary import COST_BY_NAME, ArmSummary, Quantity, ratios

_QUANTITIES = {
    "training-time": "training_seconds",
    "memory": "training_memory",
    "storage": "saved_bytes",
    "serving": "serving_seconds",
}
BYTES_A_WEIGHT = 4  # of a base model in float32


class NoReason(Enum):
    """Why nothing is recommended."""

    NO_BASELINE = "no baseline"
    NOT_FAIR = "not fair"
    UNFINISHED = "unfinished"
    ONE_SEED = "one seed"
    UNDECIDED = "undecided"
    UNKNOWN_PRICE = "unknown price"


class Turn(Enum):
    """What a number of tasks or texts changes."""

    STORAGE = "storage"  # tasks from which on adapters need less disk
    SERVING = "serving"  # texts after which the training time that was saved is spent


@dataclass(frozen=True)
class BreakEven:
    """From how many on the one pays and the other no longer."""

    turn: Turn
    count: int


@dataclass(frozen=True)
class Recommendation:
    """The arm to take, for a price, and what else could be taken."""

    price: Quantity
    arm: str | None
    reason: NoReason | None  # why there is none
    runner_up: str | None  # the next cheapest that could be taken
    lead: Ratio | None  # the runner-up's price by the arm's, paired by seed
    undecided: tuple[str, ...]  # arms of which it isn't known; they may be cheaper
    break_evens: tuple[BreakEven, ...]


def recommend(
    arms: Mapping[str, ArmSummary], baseline: str, prefer: Price, *, is_fair: bool, is_finished: bool
) -> Recommendation:
    """Recommend the cheapest of the baseline and the arms shown to be non-inferior to it.

    Void arms are left out, and those of which a final trial failed: seeds that survived don't speak for the others.
    Nothing is recommended where the comparison wasn't fair or isn't finished, after one seed, which doesn't tell what
    another would change, and where the baseline is all that could be while some arm is undecided.
    """
    price = COST_BY_NAME[_QUANTITIES[prefer]]
    usable = {name: arm for name, arm in arms.items() if arm.is_sound}
    eligible = {
        name: arm for name, arm in usable.items() if name == baseline or (arm.verdict and arm.verdict.is_non_inferior)
    }
    undecided = tuple(
        name for name, arm in usable.items() if arm.verdict and arm.verdict.margin_answer is MarginAnswer.UNDECIDED
    )
    reason = _reason(eligible, baseline, undecided, price, is_fair=is_fair, is_finished=is_finished)
    if reason is not None:
        return Recommendation(price, None, reason, None, None, undecided, ())
    first, *rest = sorted(eligible, key=lambda name: eligible[name].costs[price.name].mean)
    return Recommendation(
        price,
        first,
        None,
        rest[0] if rest else None,
        ratios(arms[rest[0]].measurements, arms[first].measurements).get(price.name) if rest else None,
        undecided,
        tuple(_break_evens(arms[first], arms[baseline])),
    )


def _reason(
    eligible: Mapping[str, ArmSummary],
    baseline: str,
    undecided: tuple[str, ...],
    price: Quantity,
    *,
    is_fair: bool,
    is_finished: bool,
) -> NoReason | None:
    """Return the first reason against recommending anything, if there is one."""
    reasons = {
        NoReason.NO_BASELINE: baseline not in eligible,
        NoReason.NOT_FAIR: not is_fair,
        NoReason.UNFINISHED: not is_finished,
        NoReason.ONE_SEED: any(len(arm.measurements) == 1 for arm in eligible.values()),
        NoReason.UNDECIDED: len(eligible) == 1 and bool(undecided),
        NoReason.UNKNOWN_PRICE: any(price.name not in arm.costs for arm in eligible.values()),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _break_evens(arm: ArmSummary, baseline: ArmSummary) -> list[BreakEven]:
    """Return where adapters begin to need less disk than whole models, and where slower scoring eats up saved time."""
    found = []
    shared = [seed for seed in arm.measurements if seed in baseline.measurements]
    own, base = (_means(one, shared) for one in (arm, baseline))
    if _is_adapter(arm) and not _is_adapter(baseline) and own["saved_bytes"] < base["saved_bytes"]:
        counted = next(iter(arm.measurements.values())).parameters
        once = BYTES_A_WEIGHT * (counted.total - counted.trainable)  # the base model, for all tasks
        found.append(BreakEven(Turn.STORAGE, math.floor(once / (base["saved_bytes"] - own["saved_bytes"])) + 1))
    saved = base["training_seconds"] - own["training_seconds"]
    slower = own["serving_seconds"] - base["serving_seconds"]
    serving = arm.ratios["serving_seconds"].interval
    if _is_scored_apart(arm) and saved > 0 and serving is not None and serving[0] > 1:
        found.append(BreakEven(Turn.SERVING, math.ceil(saved / slower)))
    return found


def _means(arm: ArmSummary, seeds: Sequence[int]) -> dict[str, float]:
    """Return the mean of every cost over `seeds`, as far as it is known."""
    known = {name: [one.values[seed] for seed in seeds if seed in one.values] for name, one in arm.costs.items()}
    return {name: fmean(values) for name, values in known.items() if values}


def _is_scored_apart(arm: ArmSummary) -> bool:
    """Tell whether items were scored with the adapter beside the matrices; plain LoRA is merged into them."""
    method = next(iter(arm.measurements.values())).trial.method
    return _is_adapter(arm) and not (isinstance(method, Lora) and not method.dora)


def _is_adapter(arm: ArmSummary) -> bool:
    method = next(iter(arm.measurements.values())).trial.method
    return not isinstance(method, Untouched) and method.saves_adapter
