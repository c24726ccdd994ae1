"""TensorBoard: `tensorboard --logdir RUN` shows every trial's curves, and settings and outcomes under HPARAMS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter  # writes the files without importing torch

from loralab.experiment import Trial
from loralab.results import Failure, Measurement
from loralab.trackers.facts import outcome, settings


class TensorBoard:
    """Event files in `tensorboard/TRIAL` of the results folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writer: SummaryWriter | None = None

    def begin(self, trial: Trial) -> None:
        """Open the trial's file, beside those that it has from before it was stopped."""
        # Files are named by the second: `add_hparams` opens another one, and may do so in the same.
        self._writer = SummaryWriter(str(self._folder / trial.id), filename_suffix=".curves")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write a point of every curve."""
        assert self._writer is not None
        _require_alive(self._writer)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, result: Measurement | Failure) -> None:
        """Write the trial's row of the table of settings, and close."""
        assert self._writer is not None
        _require_alive(self._writer)
        self._writer.add_hparams(settings(result.trial), outcome(result), name=".")
        self._writer.close()
        self._writer = None


def _require_alive(writer: SummaryWriter) -> None:
    """Raise OSError where the thread that writes has ended, as on a full disk.

    tensorboardX (2.6) doesn't notice: its queue of ten fills, and whoever adds to it, or closes it, waits for ever.
    """
    events = writer._get_file_writer().event_writer
    if not events._worker.is_alive():
        events._closed = True
        raise OSError("the thread that writes its files has ended")
