"""MLflow: a run for each trial, in an experiment for each results folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from loralab.experiment import Trial
from loralab.results import Failure, Measurement
from loralab.trackers.facts import outcome, settings
from loralab.trackers.open_runs import OpenRuns

STORE = "mlflow.db"
LONGEST = 500  # characters of a parameter


class MLflow:
    """Runs in the store that MLFLOW_TRACKING_URI names, or in `mlflow.db` of the results folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client: MlflowClient | None = None
        self._run = ""
        self._open = OpenRuns(folder, "mlflow")
        self._elsewhere = os.environ.get("MLFLOW_TRACKING_URI")

    def begin(self, trial: Trial) -> None:
        """Open a run, or the one that the trial had when it was stopped; and the store before the first one."""
        if self._client is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            # It tells (mlflow 3) that it makes tables, in the middle of what the trials say.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            self._client = MlflowClient(self._elsewhere or f"sqlite:///{(self._folder / STORE).resolve()}")
        self._run = self._known(self._client, trial) or self._new(self._client, trial)
        told = [Param(name, str(value)[:LONGEST]) for name, value in settings(trial).items()]
        self._client.log_batch(self._run, params=told)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of every curve."""
        assert self._client is not None
        now = int(1000 * time.time())
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def finish(self, result: Measurement | Failure) -> None:
        """Write down what came of it, and close."""
        assert self._client is not None
        for name, value in outcome(result).items():
            self._client.log_metric(self._run, name, value)
        self._client.set_terminated(self._run, "FAILED" if isinstance(result, Failure) else "FINISHED")
        if result.is_answer:
            self._open.close(result.trial)

    def _known(self, client: MlflowClient, trial: Trial) -> str | None:
        """Return the trial's open run, unless it was deleted."""
        run = self._open.find(trial)
        try:
            return run if run and client.get_run(run).info.lifecycle_stage == "active" else None
        except MlflowException:
            return None

    def _new(self, client: MlflowClient, trial: Trial) -> str:
        run = str(client.create_run(self._experiment(client), run_name=trial.id).info.run_id)
        self._open.keep(trial, run)
        return run

    def _experiment(self, client: MlflowClient) -> str:
        name = self._folder.resolve().name
        known = client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        # A server has a place of its own for files; the store in the results folder would take the working folder.
        files = None if self._elsewhere else (self._folder / "mlflow-files").resolve().as_uri()
        return str(client.create_experiment(name, artifact_location=files))
