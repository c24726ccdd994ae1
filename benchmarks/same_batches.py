"""Whether what makes the engine fast changes what is learnt, batch for batch: the same trials with it and without.

    python benchmarks/same_batches.py --data DIR --out DIR

The trials of `learning.py`, each carried out twice: as `loralab run` does, with `precision: auto` unless one is
named, and by the same loop in float32 with PyTorch's dropout and the layers as transformers and PEFT have them. Head
and batches are the same, so that masks and rounding alone differ; `tests/test_same_learning.py` holds the loop itself
against a plain one. `--out` keeps what is finished. The table is written into docs/engine.md, where each precision has
its own.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

from asking import precision_of
from learning import asked, experiment, ratio_of, tell, validation_loss
from loralab import Experiment
from loralab.experiment import Trial
from loralab.plan import certain_trials
from loralab.train import carry_out


def main() -> None:
    """Train both ways, and write the table."""
    given = asked(__doc__)
    precision = precision_of(given)
    compared = experiment(given.data, given.seeds, precision)
    lines = [
        "| | validation loss without | with all of it | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for arm in compared.arms:
        trials = trials_of(compared, arm)
        without, with_it = ([loss(trial, given.out, is_plain=plain) for trial in trials] for plain in (True, False))
        lines.append(f"| {arm} | {fmean(without):.3f} | {fmean(with_it):.3f} | {ratio_of(with_it, without)} |")
    tell("same batches", precision, given.seeds, lines)


def trials_of(compared: Experiment, arm: str) -> list[Trial]:
    """Return a trial for each seed that is scored on validation alone."""
    return [one.model_copy(update={"stage": "tuning"}) for one in certain_trials(compared) if one.arm == arm]


def loss(trial: Trial, out: Path, *, is_plain: bool) -> float:
    """Return the validation loss after the trial, carried out in a process of its own unless that was done before."""
    folder = out / ("plain" if is_plain else "fast")
    kept = folder / f"{trial.id}.txt"
    if not kept.exists():
        with ProcessPoolExecutor(1, get_context("spawn")) as place:
            found = place.submit(_carry_out_plainly if is_plain else _carry_out, trial, folder).result()
        kept.write_text(str(found), encoding="utf-8")
    return float(kept.read_text(encoding="utf-8"))


def _carry_out(trial: Trial, folder: Path) -> float:
    return validation_loss(carry_out(trial, folder, lambda _: None))


def _carry_out_plainly(trial: Trial, folder: Path) -> float:
    conditions = trial.conditions.model_copy(update={"precision": "float32"})
    with (
        patch("loralab.fitting.fast_training", lambda *_, **__: nullcontext()),
        patch("loralab.engine.dropout.speed_up_dropout", lambda _: None),
        patch("loralab.engine.setup.fuse_activations", lambda _: None),
    ):
        return _carry_out(trial.model_copy(update={"conditions": conditions}), folder)


if __name__ == "__main__":
    main()
