"""The conditions of a comparison in words: model, data, training, machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath

from loralab.comparison import Comparison
from loralab.experiment import Conditions
from loralab.methods import Method
from loralab.pretrained import PACKAGE_SCHEME
from loralab.report import numbers
from loralab.results import DataFacts, Measurement
from loralab.tasks import Classification, Task

UNUSED = ("False", "None", "none", "default", "0")
SCHEDULES = {"linear": "linear decay", "cosine": "decay along a cosine", "constant": "a constant rate"}


def facts(comparison: Comparison) -> Mapping[str, str]:
    """The conditions, the data and the machine."""
    if not comparison.measurements:
        return {}
    first = comparison.measurements[0]
    conditions, data = first.trial.conditions, first.data
    length = f"{numbers.several(conditions.epochs, 'epoch')} of " if conditions.epochs else ""
    length += f"{first.course.planned_steps // (conditions.epochs or 1):,} steps"
    batch = f"{conditions.batch_size * conditions.accumulation} {conditions.task.example}s a step"
    if conditions.batch_tokens is not None:
        batch += f" or fewer ({conditions.batch_tokens:,} tokens in a forward pass)"
    task = conditions.task
    return {
        "Model": conditions.model,
        "Data": f"{task.data.source}: " + ", ".join(f"{count:,} {split}" for split, count in data.rows.items()),
        "Tokens": ", ".join(f"{count:,} {split}" for split, count in data.tokens.items()),
        f"{task.item.capitalize()}s shared": f"{data.shared:,} of train and {data.shared_validation:,} of validation "
        f"also stand in test; {data.dropped:,} were dropped for it",
        "Empty rows": _by_split(data.without_text),
        **_of_the_task(task, data),
        "Training": f"{length}, {batch}, AdamW, warm-up over "
        f"{100 * conditions.warmup:g} % of the steps, then {SCHEDULES[conditions.schedule]}, weight decay "
        f"{conditions.weight_decay:g}, gradients clipped at {conditions.max_grad_norm:g}",
        "Other settings": ", ".join(_other_settings(conditions)) or "none",
        "Precision": _of_each(comparison, lambda found: f"{found.environment.precision} in training")
        + f", {conditions.scoring} in final scores; saved models are float32",
        "Seeds": _seeds(comparison),
        "Memory": _of_each(comparison, lambda found: found.memory.how)
        + ", above what was resident before the model was loaded",
        "Machine": _of_each(comparison, _machine),
        "Versions": _of_each(comparison, _versions),
    }


def subject(comparison: Comparison) -> str:
    """What was trained on what, in a few words: 'gpt2-mini on wikitext2'."""
    conditions = comparison.experiment.conditions
    data = conditions.task.data
    part = f"/{data.configuration}" if data.configuration else ""
    return f"{_last(conditions.model)} on {_last(data.source)}{part}"


def _last(place: str) -> str:
    """Return what a path, a hub id or a package's name ends with."""
    return PurePath(place.removeprefix(PACKAGE_SCHEME)).name or place


def scale(comparison: Comparison) -> str:
    """How much was trained and tested on, and where: '2,000 texts to train on, 5,000 to test on; AMD EPYC'."""
    if not comparison.measurements:
        return "nothing is measured yet"
    rows = comparison.measurements[0].data.rows
    trained_on = numbers.several(rows["train"], comparison.experiment.conditions.task.item)
    return f"{trained_on} to train on, {rows['test']:,} to test on; " + _of_each(
        comparison, lambda found: found.environment.device_name
    )


def _machine(found: Measurement) -> str:
    there = found.environment
    return f"{there.device_name}; {there.device}, {there.threads} threads; {there.platform}"


def _versions(found: Measurement) -> str:
    there = found.environment
    told = [*(f"{name} {version}" for name, version in there.versions.items()), f"Python {there.python}"]
    return ", ".join([*told, f"loralab commit {there.commit}"] if there.commit else told)


def _of_each(comparison: Comparison, told: Callable[[Measurement], str]) -> str:
    """Say what `told` says of the trials; where that isn't the same of all, with which seeds."""
    seeds: dict[str, dict[int, None]] = {}
    for arm in comparison.arms.values():
        for seed, found in arm.measurements.items():
            seeds.setdefault(told(found), {})[seed] = None
    if len(seeds) == 1:
        return next(iter(seeds))
    return "; ".join(f"{text} ({numbers.seeds(of_text)})" for text, of_text in seeds.items())


def method(found: Method) -> str:
    """A method with the settings that it uses: 'lora, rank 8, alpha 16, dropout 0.1, targets attention'."""
    told = {name: _setting(value) for name, value in found.model_dump(mode="json", exclude={"kind"}).items()}
    used = {name: value for name, value in told.items() if value not in UNUSED}
    return ", ".join([found.kind, *(f"{name} {value}".strip() for name, value in used.items())])


def _setting(value: object) -> str:
    if value is True:
        return ""
    if isinstance(value, list):
        return " + ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def arms(comparison: Comparison) -> Mapping[str, str]:
    """What each arm is, and the learning rate that it chose."""
    told = {}
    for name, arm in comparison.experiment.arms.items():
        choice = comparison.arms[name].choice
        rate = f", learning rate {numbers.rate(choice.rate)}" if choice and choice.rate is not None else ""
        told[name] = method(arm.method) + rate
    return told


def _seeds(comparison: Comparison) -> str:
    seeds, experiment = ", ".join(map(str, comparison.seeds)), comparison.experiment
    tuned = f"; learning rates were chosen on validation with seed {experiment.tuning_seed}"
    return seeds + (tuned if experiment.is_tuned else "")


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} of {split}" for split, count in counts.items()) or "none"


def _of_the_task(task: Task, data: DataFacts) -> Mapping[str, str]:
    """What only one kind of task has."""
    if isinstance(task, Classification):
        cut = ", ".join(f"{100 * share:.1f} % of {split}" for split, share in data.truncated.items())
        return {
            "Labels": ", ".join(data.label_names),
            **({"Rows without a label": f"{_by_split(data.without_label)}, left out"} if data.without_label else {}),
            "Texts cut": f"{cut}, at {task.max_length} tokens",
        }
    facts = {
        "Blocks": f"{task.block_size} tokens in training; in scoring, windows of as many that move on by "
        f"{task.steps_of_scoring} tokens, so that each token is scored once"
    }
    sets = ", ".join(f"{name} ({one.source})" for name, one in task.evaluate.items())
    return facts | (
        {"Scored besides": f"{sets}; each document by itself, unless its context is the corpus"} if sets else {}
    )


def _other_settings(conditions: Conditions) -> list[str]:
    """Name what is not usual in training."""
    task = conditions.task
    told = _of_the_labels(task) if isinstance(task, Classification) else []
    if conditions.early_stopping is not None:
        told.append(f"stopped early after {conditions.early_stopping} validations without a better score")
    if conditions.gradient_checkpointing:
        told.append("gradient checkpointing")
    return told


def _of_the_labels(task: Classification) -> list[str]:
    told = []
    if task.label_smoothing:
        told.append(f"label smoothing {task.label_smoothing:g}")
    if task.class_weights == "balanced":
        told.append("labels weighted to count alike")
    elif task.class_weights is not None:
        told.append(
            "labels weighted: " + ", ".join(f"{name} {weight:g}" for name, weight in task.class_weights.items())
        )
    return told
