"""What a results folder holds of its experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loralab.experiment import Experiment, Trial
from loralab.folder import ResultsFolder
from loralab.hub import as_path
from loralab.plan import Results, choose, extra_trials, final_trials, tuning_trials
from loralab.results import Failure, Measurement


def stored(folder: str | Path) -> tuple[Experiment, Results]:
    """Return the experiment of a results folder, and every result of it that the folder holds. Raises UserError."""
    kept = ResultsFolder(as_path(folder))
    experiment = kept.experiment()
    results: dict[str, Measurement | Failure] = {}

    def gather(trials: Sequence[Trial]) -> None:
        results.update({trial.id: result for trial in trials if (result := kept.result(trial)) is not None})

    gather(tuning_trials(experiment))
    gather(extra_trials(experiment, results))
    choices = choose(experiment, results)
    for seeds in experiment.seeds_by_look:
        gather(final_trials(experiment, choices, seeds))
    return experiment, results
