"""The conditions of a comparison in words: model, data, training, machine."""

from __future__ import annotations

from collections.abc import Mapping

from loralab.comparison import Comparison
from loralab.experiment import Conditions
from loralab.report import numbers
from loralab.results import DataFacts
from loralab.tasks import Classification, Task

SCHEDULES = {"linear": "linear decay", "cosine": "decay along a cosine", "constant": "a constant rate"}


def facts(comparison: Comparison) -> Mapping[str, str]:
    """The conditions, the data and the machine."""
    if not comparison.measurements:
        return {}
    first = comparison.measurements[0]
    conditions, data, machine = first.trial.conditions, first.data, first.environment
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
        "Precision": f"{machine.precision} in training, {conditions.scoring} in final scores; saved models are float32",
        "Seeds": _seeds(comparison),
        "Memory": first.memory.how + ", above what was resident before the model was loaded",
        "Machine": f"{machine.device_name}; {machine.device}, {machine.threads} threads; {machine.platform}",
        "Versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        + f", Python {machine.python}"
        + (f", loralab commit {machine.commit}" if machine.commit else ""),
    }


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
