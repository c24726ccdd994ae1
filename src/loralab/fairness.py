"""Whether the arms were compared fairly: told from the results, not from the plan.

Equal tuning budgets follow Dodge et al. 2019 (arXiv:1909.03004); that head and data order both matter, Dodge et al.
2020 (arXiv:2002.06305).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loralab.experiment import Conditions
from loralab.results import ByArm, Measurement

SHOWN = 12  # characters of a long value, such as a hash


@dataclass(frozen=True)
class Shared:
    """Something that the arms of a comparison must share."""

    name: str
    read: Callable[[Measurement], object]
    is_of_seed: bool = False  # it differs from seed to seed, and only arms of one seed share it
    is_drawn: bool = False  # it follows from the seed, so that an arm with other seeds has another by design
    ends_early: bool = False  # it counts what was trained, another one for each arm where training may stop early

    def of(self, found: Measurement) -> object:
        """Return what a trial had, or None where that is unknown or need not be shared."""
        return None if self.ends_early and found.trial.conditions.early_stopping else self.read(found)


@dataclass(frozen=True)
class Deviation:
    """Something that the arms should share and don't."""

    name: str
    seen: str  # what each arm had


@dataclass(frozen=True)
class Fairness:
    """What was checked, and what came out."""

    checked: tuple[str, ...]
    deviations: tuple[Deviation, ...]
    exempt: tuple[Deviation, ...]  # what differs because the experiment asks for it

    @property
    def is_fair(self) -> bool:
        """Tell whether nothing deviates."""
        return not self.deviations


def _versions(found: Measurement) -> str:
    return " ".join(f"{name} {version}" for name, version in found.environment.versions.items())


HEAD, ORDER = "head initialisation", "data order"


def _batch(conditions: Conditions) -> str:
    texts = f"{conditions.batch_size} x {conditions.accumulation}"
    return texts if conditions.batch_tokens is None else f"{texts}, {conditions.batch_tokens} tokens at most"


SHARED = (
    Shared("model revision", lambda m: m.sameness.model_revision),
    Shared("data", lambda m: m.data.sha256),
    Shared(ORDER, lambda m: m.sameness.order_sha256, is_of_seed=True, is_drawn=True),
    Shared(HEAD, lambda m: m.sameness.head_sha256, is_of_seed=True, is_drawn=True),
    # Where `batch_tokens` limits batches, their number follows from the order.
    Shared("steps", lambda m: m.sameness.steps, is_of_seed=True, is_drawn=True, ends_early=True),
    Shared("planned steps", lambda m: m.course.planned_steps, is_of_seed=True, is_drawn=True),
    Shared("tokens", lambda m: m.sameness.tokens, is_of_seed=True, is_drawn=True, ends_early=True),
    Shared("batch", lambda m: _batch(m.trial.conditions)),
    Shared("schedule", lambda m: f"{m.trial.conditions.schedule}, warm-up {m.trial.conditions.warmup:g}"),
    Shared("weight decay", lambda m: m.trial.conditions.weight_decay),
    Shared("gradient clipping", lambda m: m.trial.conditions.max_grad_norm),
    Shared("task", lambda m: m.trial.conditions.task.model_dump_json()),
    Shared("early stopping", lambda m: m.trial.conditions.early_stopping or "none"),
    Shared("precision", lambda m: m.environment.precision),
    Shared("threads", lambda m: m.environment.threads, is_of_seed=True),
    Shared("machine", lambda m: f"{m.environment.device_name}; {m.environment.platform}", is_of_seed=True),
    Shared("library versions", _versions, is_of_seed=True),
)
BUDGET = "number of learning rates tried"


def examine(arms: ByArm, budgets: Mapping[str, int]) -> Fairness:
    """Hold the arms of a comparison against each other. `budgets`: learning rates tried by each arm."""
    found = {name: seeds for name, seeds in arms.items() if seeds}
    moved = [name for name, seeds in found.items() if _has_other_seeds(seeds)]
    early = any(one.trial.conditions.early_stopping for seeds in found.values() for one in seeds.values())
    has_new_head = any(one.sameness.head_sha256 is not None for seeds in found.values() for one in seeds.values())
    exempt = []
    for shared in SHARED:
        if shared.name == HEAD and not has_new_head:
            exempt.append(Deviation(HEAD, "no weight is new"))
        elif shared.is_drawn and moved:
            exempt.append(Deviation(shared.name, f"{', '.join(moved)}: other seeds, by design"))
        elif shared.ends_early and early:
            exempt.append(Deviation(shared.name, "training may stop early"))
    deviations = [deviation for shared in SHARED if (deviation := _deviation(shared, found))]
    tries = {name: budgets[name] for name in found}
    if len(set(tries.values())) > 1:
        deviations.append(Deviation(BUDGET, _told({name: str(count) for name, count in tries.items()})))
    return Fairness((*(shared.name for shared in SHARED), BUDGET), tuple(deviations), tuple(exempt))


def _deviation(shared: Shared, arms: ByArm) -> Deviation | None:
    """Return where the arms differ, told by the first seed in which they do."""
    if not shared.is_of_seed:
        values = {
            name: {value for found in seeds.values() if (value := shared.of(found)) is not None}
            for name, seeds in arms.items()
        }
        if len(set().union(*values.values())) <= 1:
            return None
        return Deviation(shared.name, _told({name: _listed(own) for name, own in values.items()}))
    for seed in sorted({seed for seeds in arms.values() for seed in seeds}):
        own = {
            name: value
            for name, seeds in arms.items()
            if seed in seeds and not (shared.is_drawn and _has_other_seeds(seeds))
            if (value := shared.of(seeds[seed])) is not None
        }
        if len(set(own.values())) > 1:
            return Deviation(shared.name, f"seed {seed}: {_told({name: str(value) for name, value in own.items()})}")
    return None


def _has_other_seeds(seeds: Mapping[int, Measurement]) -> bool:
    return any(found.trial.seed != seed for seed, found in seeds.items())


def _listed(values: set[object]) -> str:
    return " and ".join(sorted(map(str, values)))


def _told(values: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: str) -> str:
    """Cut a hash, which nobody reads to its end."""
    is_hash = len(value) > SHOWN and all(sign in "0123456789abcdef" for sign in value)
    return f"{value[:SHOWN]}…" if is_hash else value
