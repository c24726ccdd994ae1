"""Results as a table for other tools: one row a trial."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from loralab.results import Failure, Measurement

if TYPE_CHECKING:
    import pyarrow


def table(results: Iterable[Measurement | Failure]) -> pyarrow.Table:
    """Return a row for each result: what the trial was, what it gave and what it cost.

    Seconds and bytes are as measured; what is unknown, or was never measured, is empty. Scores are on validation for
    tuning trials, on test for final ones.
    """
    import pyarrow  # not needed where nothing is written, as by `plan`

    rows = [_row(result) for result in results]
    names = dict.fromkeys(name for row in rows for name in row)
    return pyarrow.table({name: pyarrow.array([row.get(name) for row in rows]) for name in names})


def _row(result: Measurement | Failure) -> dict[str, Any]:
    trial, conditions = result.trial, result.trial.conditions
    row: dict[str, Any] = {
        "trial": trial.id,
        "stage": trial.stage,
        "arm": trial.arm,
        "method": trial.method.kind,
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "outcome": "measured" if isinstance(result, Measurement) else result.reason,
        "model": conditions.model,
        "data": str(conditions.task.data.source),
    }
    return row | (_measured(result) if isinstance(result, Measurement) else {"message": result.message})


def _measured(found: Measurement) -> dict[str, Any]:
    held, throughput, saved = found.memory.held, found.throughput, found.saved
    return {
        **found.scores,
        **{f"{phase}_seconds": seconds for phase, seconds in found.seconds},
        "training_bytes": found.memory.training,
        "evaluation_bytes": found.memory.evaluation,
        **({f"{part}_bytes": size for part, size in held} if held else {}),
        **({f"{unit}_per_second": speed for unit, speed in throughput} if throughput else {}),
        "trainable_parameters": found.parameters.trainable,
        "total_parameters": found.parameters.total,
        "saved_bytes": saved.bytes if saved else None,
        "saved_folder": saved.folder if saved else None,
        "steps": found.sameness.steps,
        "kept_step": found.course.kept_step,
        "tokens": found.sameness.tokens,
        "checks": len(found.checks),
        "checks_passed": sum(check.passed for check in found.checks),
        "device": found.environment.device_name,
        "precision": found.environment.precision,
        "threads": found.environment.threads,
        "commit": found.environment.commit,
    }
