"""Which runs a tracker has open, kept in the results folder: a trial that was stopped or killed takes up its own."""

from __future__ import annotations

from pathlib import Path

from loralab.experiment import Trial
from loralab.writing import write_whole


class OpenRuns:
    """The runs of one tracker, by trial."""

    def __init__(self, folder: Path, tracker: str) -> None:
        self._folder, self._ending = folder / "trials", f".{tracker}-run"

    def find(self, trial: Trial) -> str | None:
        """Return the run that was opened for `trial` while it has no result, or None."""
        try:
            return self._file(trial).read_text(encoding="utf-8")
        except OSError:
            return None

    def keep(self, trial: Trial, run: str) -> None:
        """Write down that `run` was opened."""
        write_whole(self._file(trial), run)

    def close(self, trial: Trial) -> None:
        """Forget the trial's run: carried out once more, it opens another."""
        self._file(trial).unlink(missing_ok=True)

    def _file(self, trial: Trial) -> Path:
        return self._folder / f"{trial.id}{self._ending}"
