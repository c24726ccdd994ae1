"""From a model in a results folder to a folder of its own, which transformers loads without loralab."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from loralab.checks.reloading import MERGED_TOLERANCE, agree
from loralab.errors import UserError
from loralab.inspection import memory_is_told
from loralab.loading import load_saved
from loralab.measure import bytes_in
from loralab.methods.merging import NotMergeableError, merged
from loralab.prediction import quietly
from loralab.prediction.saved import base_model, load
from loralab.results import Measurement, Saved
from loralab.tasks.saved_lines import loaded_from
from loralab.writing import already_there

PROBE = list(range(5, 25))  # token ids, for a text that every vocabulary has


@dataclass(frozen=True)
class Exported:
    """A model in a folder of its own."""

    folder: str  # its name
    bytes: int  # of all its files
    loading: str  # the Python lines that load it, from beside the folder
    base: str | None  # the folder or hub id of the model that an adapter is loaded on; None of a whole model


def export(measurement: Measurement, folder: Path, to: Path, *, merge: bool) -> Exported:
    """Write the model that a trial saved in the results folder `folder` into the new folder `to`, with its tokenizer.

    With `merge` an adapter becomes part of a whole model; the result is loaded again and must give the same logits.
    Raises UserError where `to` is there already, or the model can't be loaded, or merged.
    """
    assert measurement.saved is not None
    if to.exists() and any(to.iterdir() if to.is_dir() else [to]):
        raise already_there(to)
    to = to.resolve()
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=".loralab-", dir=to.parent))
    except OSError as error:
        raise _not_written(to, error) from error
    draft = scratch / to.name
    try:
        if merge and measurement.trial.method.saves_adapter:
            base, lines = None, _merge(measurement, folder, draft)
        else:
            base = base_model(measurement, folder)
            source = folder / measurement.saved.folder
            if any(place.is_symlink() for place in (source, *source.rglob("*"))):
                raise UserError(f"{source} holds links to elsewhere, which an export doesn't follow")
            _copy(source, draft)
            lines = loaded_from(measurement.saved.loading, measurement.saved.folder, to.name)
        if to.exists():
            to.rmdir()
        draft.rename(to)
    except OSError as error:
        raise _not_written(to, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(to.name, bytes_in(to), lines, base)


def _copy(source: Path, draft: Path) -> None:
    """Copy the files alone: a folder that was protected against writing would make one that can't be renamed."""
    for file in source.rglob("*"):
        if file.is_file():
            target = draft / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _not_written(to: Path, error: OSError) -> UserError:
    return UserError(f"{to} can't be written: {error}")


def _merge(measurement: Measurement, folder: Path, draft: Path) -> str:
    """Save the merged model into `draft`; return the lines that load it from a folder of that name."""
    trial = measurement.trial
    with quietly(), memory_is_told(trial.conditions.model):
        model, tokenizer = load(measurement, folder)
        before = _logits(model)
        try:
            plain = merged(model)
        except NotMergeableError as error:
            raise UserError(
                f"--merge: {trial.method.kind} can't be merged into its model ({error}); leave it out"
            ) from None
        plain.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        lines = trial.conditions.task.loading_lines(plain, draft.name, adapter=False)
        del model, plain  # one model at a time
        written = Saved(folder=draft.name, bytes=bytes_in(draft), loading=lines)
        again, _ = load_saved(measurement.model_copy(update={"saved": written}), draft.parent)
        after = _logits(again)
    gives_the_same, seen = agree(before, after, MERGED_TOLERANCE)
    if not gives_the_same:
        raise UserError(f"--merge: the merged model gives other logits ({seen}); nothing was written")
    return lines


def _logits(model: Any) -> Any:
    import torch

    device = next(model.parameters()).device
    ids = torch.tensor([PROBE], device=device) % model.config.vocab_size
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float().cpu().numpy()
