"""What an experiment will take: from rehearsals of its arms to seconds and memory, arm by arm and in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loralab.experiment import Experiment, Trial
from loralab.plan import certain_trials
from loralab.rehearsal import Rehearsal
from loralab.results import Failure


@dataclass(frozen=True)
class ArmForecast:
    """One arm: what it was seen to take, and what a trial of it takes beyond its steps."""

    rehearsal: Rehearsal | Failure
    overhead: float  # seconds of a trial outside training and evaluation: starting, reading, loading

    @property
    def fits(self) -> bool | None:
        """Tell whether the memory that was free is enough; None where its need is unknown."""
        if isinstance(self.rehearsal, Failure):
            return False if self.rehearsal.reason == "out of memory" else None
        need = max(self.rehearsal.training_memory or 0, self.rehearsal.evaluation_memory or 0)
        return need <= self.rehearsal.free_memory if need else None

    def trial_seconds(self, stage: str) -> float | None:
        """Return what a trial is expected to take, or None where the rehearsal failed."""
        found = self.rehearsal
        if isinstance(found, Failure):
            return None
        seconds = self.overhead + found.training_seconds + found.validation_seconds
        if stage == "final":  # its checks read and load once more, in a process of their own
            seconds += found.final_seconds + found.saving_seconds + self.overhead
        return seconds

    @property
    def scoring_seconds(self) -> float | None:
        """What scoring test alone is expected to take, or None where the rehearsal failed."""
        return None if isinstance(self.rehearsal, Failure) else self.overhead + self.rehearsal.final_seconds


@dataclass(frozen=True)
class Forecast:
    """All arms."""

    experiment: Experiment
    arms: Mapping[str, ArmForecast]

    def seconds(self) -> tuple[float, float]:
        """Return what all trials take at least, and at most: one more try for every tuned arm, and all of the seeds.

        Arms whose rehearsal failed are left out; so is the untouched model's scoring, if all of them failed.
        """
        least = sum(self._seconds_of(trial) for trial in certain_trials(self.experiment))
        later_seeds = len(self.experiment.seeds) - len(self.experiment.seeds_by_look[0])
        more = 0.0
        for name, arm in self.arms.items():
            if self.experiment.arms[name].is_tuned:
                more += arm.trial_seconds("tuning") or 0.0
            more += later_seeds * (arm.trial_seconds("final") or 0.0)
        return least, least + more

    def _seconds_of(self, trial: Trial) -> float:
        if trial.learning_rate is None:
            untrained = [arm.scoring_seconds for arm in self.arms.values()]
            return min((seconds for seconds in untrained if seconds is not None), default=0.0)
        return self.arms[trial.arm].trial_seconds(trial.stage) or 0.0
