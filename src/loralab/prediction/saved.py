"""Which saved model is meant, what speaks against it, and loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loralab.errors import UserError, unknown_name
from loralab.experiment import UNTOUCHED, Experiment
from loralab.hub import is_hub_id
from loralab.loading import load_saved
from loralab.memory import is_out_of_memory
from loralab.plan import Results
from loralab.pretrained import are_others, revision
from loralab.results import Failure, Measurement

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def measurements_of(arm: str, experiment: Experiment, results: Results) -> dict[int, Measurement]:
    """Return the trials of `arm` that saved a model, by their seed in the design, in its order.

    Raises UserError where there is no such arm, or no model of it.
    """
    if arm == UNTOUCHED:
        raise UserError(
            f"arm: {arm} is the model before any training, of which nothing is saved; "
            f"name one of {', '.join(experiment.arms)}"
        )
    if arm not in experiment.arms:
        raise UserError(f"arm: {unknown_name('arm', arm, list(experiment.arms))}")
    of_arm = [result for result in results.values() if result.trial.arm == arm]
    saved = {
        result.trial.seed - experiment.arms[arm].seed_offset: result
        for result in of_arm
        if isinstance(result, Measurement) and result.saved is not None
    }
    if not saved:
        raise UserError(_why_none(arm, of_arm))
    return {seed: saved[seed] for seed in experiment.seeds if seed in saved}


def _why_none(arm: str, results: Sequence[Measurement | Failure]) -> str:
    failures = [result for result in results if isinstance(result, Failure)]
    if not failures or (failures[-1].trial.stage == "tuning" and len(failures) < len(results)):
        return f"arm: no model of {arm} is finished yet; 'loralab run' goes on from what is there"
    last = failures[-1]
    way_out = "name another arm" if last.is_answer else "'loralab run' carries it out again"
    return f"arm: there is no model of {arm}, since {last.trial.id} failed, {last.reason}: {last.message}\n  {way_out}"


def pick(seed: int | None, models: Mapping[int, Measurement]) -> Measurement:
    """Return the model of `seed`, or the first one. Raises UserError where there is none."""
    if seed is None:
        return next(iter(models.values()))
    if seed not in models:
        raise UserError(f"seed: there is no model of seed {seed}; there are those of {', '.join(map(str, models))}")
    return models[seed]


def shared_seed(of_arms: Sequence[Mapping[int, Measurement]]) -> int | None:
    """Return the first seed of which every arm has a model, or None."""
    first, *others = of_arms
    return next((seed for seed in first if all(seed in models for models in others)), None)


def doubts(chosen: Measurement, models: Mapping[int, Measurement], folder: Path) -> list[str]:
    """Return what to know before relying on the model that was chosen among those of its arm."""
    arm = chosen.trial.arm
    told = [
        f"{arm} is void: with seed {seed} it isn't true that {check.name} ({check.seen})"
        for seed, found in models.items()
        for check in found.checks
        if not check.passed
    ]
    base = base_model(chosen, folder)
    if base is not None and _is_there(base) and are_others(revision(base), chosen.sameness.model_revision):
        told.append(f"{base}, the base model of {arm}, has changed since the training; what follows may be nonsense")
    return told


def load(measurement: Measurement, folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return the model and its tokenizer. Raises UserError with the way out for all but a lack of memory."""
    base = base_model(measurement, folder)
    if base is not None and not _is_there(base):
        raise UserError(
            f"{base}: the base model of {measurement.trial.arm} is no longer there; put it back, or write where it is "
            f"now as base_model_name_or_path into\n  {_model_folder(measurement, folder) / 'adapter_config.json'}"
        )
    try:
        return load_saved(measurement, folder)
    except Exception as error:  # whatever the libraries stumble over in a damaged file: no list of types is complete
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        raise UserError(
            f"{_model_folder(measurement, folder)} can't be loaded: {type(error).__name__}: {error}\n"
            f"  {_again(measurement)}"
        ) from error


def base_model(measurement: Measurement, folder: Path) -> str | None:
    """Return what an adapter is loaded on, a folder or a hub id, or None of a whole model.

    Raises UserError where the model was removed, or doesn't say.
    """
    own = _model_folder(measurement, folder)
    if not own.is_dir():
        raise UserError(f"{own}: the model is no longer there; {_again(measurement)}")
    if not measurement.trial.method.saves_adapter:
        return None
    file = own / "adapter_config.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} can't be read: {type(error).__name__}: {error}; {_again(measurement)}") from error


def _model_folder(measurement: Measurement, folder: Path) -> Path:
    assert measurement.saved is not None
    return folder / measurement.saved.folder


def _is_there(base: str) -> bool:
    return (Path(base) / "config.json").is_file() or is_hub_id(base)


def _again(measurement: Measurement) -> str:
    return f"remove trials/{measurement.trial.id}.json, and 'loralab run' trains it again"
