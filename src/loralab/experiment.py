"""The question: what is fixed, what is compared, what is repeated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from loralab.errors import unknown_name
from loralab.methods import Lora, Method, Untouched
from loralab.settings import Settings
from loralab.statistics.decisions import LEVEL
from loralab.tasks import Task
from loralab.tasks.metrics import Metric
from loralab.usual_arms import usual_arms

UNTOUCHED = "untouched"  # the name under which the model before any training is scored

Stage = Literal["tuning", "final"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy's generators take
Share = Annotated[float, Field(ge=0, le=1)]
Price = Literal["training-time", "memory", "storage", "serving"]
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Conditions(Settings):
    """What all arms share."""

    model: str  # a folder, a hub id, or `package:NAME` for a model that comes with pip
    task: Task
    epochs: Annotated[int, Field(gt=0, le=10_000)] | None = None  # three, where steps aren't given either
    steps: Annotated[int, Field(gt=0, le=10_000_000)] | None = None  # optimizer steps, instead of epochs
    batch_size: PositiveInt = 8  # texts in a forward pass,
    batch_tokens: PositiveInt | None = None  # or fewer, where they would be more tokens than these, padding counted
    accumulation: PositiveInt = 1  # forward passes in an optimizer step
    warmup: Share = 0.1  # share of the steps in which the learning rate rises
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # how the learning rate falls to zero then, or stays
    weight_decay: NonNegativeFloat = 0.01  # not on biases and norms
    max_grad_norm: PositiveFloat = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of training and its validation; the rest is float32
    scoring: Literal["float32", "bfloat16"] = "float32"  # of the final scores: exact, or about twice as fast
    validations_per_epoch: PositiveInt = 1
    # Training ends after so many validations in a row without a better score, and the best one's weights are kept.
    early_stopping: PositiveInt | None = None
    # A tuning trial ends early where its validation loss is more than so many times the best that another learning rate
    # of its arm had at the same step.
    give_up: Annotated[float, Field(gt=1)] | None = None
    # What frozen layers make of the texts, where it can't change, is kept in a file of at most so many GB.
    frozen_cache: NonNegativeFloat = 4.0
    gradient_checkpointing: bool = False  # less memory for activations, about a third more time

    @model_validator(mode="before")
    @classmethod
    def _has_a_length(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("epochs") is None and value.get("steps") is None:
            return {**value, "epochs": 3}
        return value

    @model_validator(mode="after")
    def _has_one_length(self) -> Conditions:
        if self.epochs is not None and self.steps is not None:
            raise PydanticCustomError("length", "give either epochs or steps")
        return self


class Arm(Settings):
    """A named method with the learning rates it may choose from."""

    method: Method
    learning_rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    # The rank is the one that brings the trained parameters nearest to those of this arm; `rank` and `alpha` of the
    # method then only say their ratio.
    match_parameters: ArmName | None = None
    seed_offset: NonNegativeInt = 0  # added to every seed: for an arm that is held against itself

    @field_validator("learning_rates", mode="after")
    @classmethod
    def _are_distinct(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(rates)) < len(rates):
            raise PydanticCustomError("distinct", "a learning rate is given twice")
        return tuple(sorted(rates))

    @property
    def is_tuned(self) -> bool:
        """Tell whether there is a choice of learning rates."""
        return len(self.learning_rates) > 1


def _usual_arms_of(read: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usual arms for what was read of an experiment before them; a mistake there is told anyway."""
    conditions = read.get("conditions")
    return usual_arms(conditions.task.kind if conditions else "classification")


AUTO_LOOKS = (3, 5, 8, 12)
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
MOST_LOG = 0.5  # a margin on the log scale, 65 %: more is meant in per cent
MOST_SEEDS = 1000  # a larger number is a mistake, and would take all memory before anyone is told


class Experiment(Settings):
    """The whole question."""

    baseline: str = "full"
    # In a file, a number n means 0 to n - 1, and 'auto' as many as it takes, up to 12.
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    # After how many seeds the results are looked at, to stop where they decide; none: after all of them.
    looks: tuple[PositiveInt, ...] = ()
    tuning_seed: Seed = 1_000_000  # learning rates are chosen on it; no final trial uses it
    primary: str | None = None  # the metric that the answer is about, where it isn't the task's first
    margin: dict[str, PositiveFloat] = Field(default_factory=dict)  # metric -> the smallest difference that matters
    prefer: Price = "training-time"  # what the recommended arm should be cheapest in
    conditions: Conditions
    arms: Annotated[dict[ArmName, Arm], Field(min_length=1, validate_default=True, default_factory=_usual_arms_of)]

    @property
    def primary_metric(self) -> Metric:
        """The metric that the answer is about."""
        metrics = self.conditions.task.metrics
        return next((metric for metric in metrics if metric.name == self.primary), metrics[0])

    @property
    def primary_margin(self) -> float:
        """The smallest difference in the primary metric that matters."""
        return self.margin.get(self.primary_metric.name, self.primary_metric.margin)

    @property
    def seeds_by_look(self) -> tuple[tuple[int, ...], ...]:
        """The seeds that are finished at each look, the last of which is at all of them."""
        return tuple(self.seeds[:count] for count in self.looks) or (self.seeds,)

    @property
    def is_tuned(self) -> bool:
        """Tell whether any arm chooses its learning rate."""
        return any(arm.is_tuned for arm in self.arms.values())

    @property
    def level(self) -> float:
        """The level of each kind of claim at one look, over all arms: the looks share it evenly."""
        return LEVEL / len(self.seeds_by_look)

    @property
    def level_of_an_arm(self) -> float:
        """The level at which Holm's first step tests an arm."""
        return self.level / max(1, len(self.arms) - 1)

    @model_validator(mode="before")
    @classmethod
    def _as_many_as_it_takes(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("seeds") == "auto":
            return {"looks": AUTO_LOOKS, **value, "seeds": AUTO_LOOKS[-1]}
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_to_seeds(cls, value: Any) -> Any:
        if isinstance(value, str):
            told = "{value} is no list of seeds, no number of them, and not 'auto'"
            raise PydanticCustomError("seeds", told, {"value": repr(value)})
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        if value > MOST_SEEDS:
            raise PydanticCustomError("seeds", "{value} are more than {most}", {"value": value, "most": MOST_SEEDS})
        return tuple(range(value))

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        mistakes = [
            *self._mistakes_in_arms(),
            *self._mistakes_in_seeds(),
            *_mistakes_in_matching(self.arms),
            *self._mistakes_in_metrics(),
        ]
        if mistakes:
            # Several at once: `files` splits them into lines of their own.
            raise PydanticCustomError("experiment", "{mistakes}", {"mistakes": "\n".join(mistakes)})
        return self

    def _mistakes_in_arms(self) -> Iterator[str]:
        if self.baseline not in self.arms:
            names = ", ".join(self.arms)
            yield f"baseline: no arm is called {self.baseline!r}; the arms are {names}: keep it, or name another"
        if UNTOUCHED in self.arms:
            yield f"arms.{UNTOUCHED}: the name is kept for the model before any training"
        for name in self.arms:
            alike = [other for other in self.arms if other.casefold() == name.casefold()]
            if alike[0] != name:
                yield f"arms.{name}: differs from {alike[0]} in case alone, and both would share files on some systems"
            if name.endswith(".") or name.partition(".")[0].casefold() in RESERVED:
                yield f"arms.{name}: no file can have this name on Windows; choose another"
        tries = {name: len(arm.learning_rates) for name, arm in self.arms.items() if arm.is_tuned}
        if len(set(tries.values())) > 1:
            counts = ", ".join(f"{name} has {count}" for name, count in tries.items())
            yield f"arms: every tuned arm needs the same number of learning rates, but {counts}"

    def _mistakes_in_seeds(self) -> Iterator[str]:
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds: {list(self.seeds)} names a seed twice"
        if self.tuning_seed in self.seeds:
            yield f"tuning_seed: {self.tuning_seed} is also a final seed; choose another"
        for name, arm in self.arms.items():
            place = f"arms.{name}.seed_offset"
            if (last := max(self.seeds) + arm.seed_offset) >= 2**32:
                yield f"{place}: seed {last} would be too large"
            if arm.seed_offset and self.tuning_seed - arm.seed_offset in self.seeds:
                yield f"{place}: {self.tuning_seed}, the tuning seed, would be among its seeds; choose another"
        rising = list(self.looks) == sorted(set(self.looks))
        if self.looks and not (rising and self.looks[0] > 1 and self.looks[-1] == len(self.seeds)):
            yield f"looks: {list(self.looks)} should rise from 2 or more to the number of seeds, {len(self.seeds)}"

    def _mistakes_in_metrics(self) -> Iterator[str]:
        metrics = {metric.name: metric for metric in self.conditions.task.metrics}
        for name, given in self.margin.items():
            if name not in metrics:
                yield f"margin: no metric is called {name!r}; there are {', '.join(metrics)}"
            elif metrics[name].scale == "share" and given >= 1:
                yield f"margin.{name}: {given:g} is {100 * given:g} points; {given:g} points are {given / 100:g}"
            elif metrics[name].scale == "log" and given >= MOST_LOG:
                yield f"margin.{name}: {given:g} is {100 * math.expm1(given):,.0f} %; {given:g} % are {given / 100:g}"
        if self.primary is not None and self.primary not in metrics:
            yield f"primary: {unknown_name('metric', self.primary, list(metrics))}"


def _mistakes_in_matching(arms: Mapping[str, Arm]) -> Iterator[str]:
    """Yield what is wrong with the arms whose parameters are to match another's."""
    for name, arm in arms.items():
        place, other = f"arms.{name}.match_parameters", arm.match_parameters
        if other is not None and not isinstance(arm.method, Lora):
            yield f"{place}: only kind lora has a rank to choose, not {arm.method.kind}; leave it out"
        if other == name:
            yield f"{place}: an arm can't match itself; name another"
        elif other is not None and other not in arms:
            yield f"{place}: {unknown_name('arm', other, list(arms))}"
        elif other is not None and arms[other].match_parameters is not None:
            yield f"{place}: {other} itself matches another arm; name one whose rank is given"


class Trial(Settings):
    """One training run, complete in itself: it pickles, and any machine that receives it can carry it out."""

    stage: Stage
    arm: str
    method: Method | Untouched
    learning_rate: PositiveFloat | None  # None: nothing is trained
    seed: Seed
    conditions: Conditions

    @property
    def id(self) -> str:
        """A readable name, unique within an experiment and fit for a file."""
        rate = "" if self.learning_rate is None else f"-lr{self.learning_rate:g}"
        return f"{self.stage}-{self.arm}{rate}-seed{self.seed}"

    @property
    def may_be_given_up(self) -> bool:
        """Whether it needn't be carried out to its end where it loses."""
        return self.stage == "tuning" and self.conditions.give_up is not None
