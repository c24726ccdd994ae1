"""Results that nobody trained for: a real measurement with other answers in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loralab import api
from loralab.experiment import UNTOUCHED, Experiment
from loralab.plan import choose, final_trials
from loralab.results import Measurement
from loralab.tasks.items import LabelScores

Right = npt.NDArray[np.bool_]


def template(finished: Path) -> Measurement:
    """A real measurement of the toy experiment."""
    return next(iter(api.load(finished).arms["lora"].measurements.values()))


def untuned(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment with one learning rate an arm, and other settings."""
    arms = {
        name: arm.model_copy(update={"learning_rates": arm.learning_rates[:1]}) for name, arm in experiment.arms.items()
    }
    return experiment.model_copy(update={"arms": arms, **changes})


def made_up(like: Measurement, experiment: Experiment, right: Callable[[str, int], Right]) -> dict[str, Measurement]:
    """Measurements of every final trial in which the items that `right` gives for arm and seed were answered right."""
    results = {}
    for trial in final_trials(experiment, choose(experiment, {}), experiment.seeds):
        hits = right(trial.arm, trial.seed) if trial.arm != UNTOUCHED else np.zeros(200, dtype=bool)
        items = LabelScores(
            label_count=len(like.data.label_names),
            ids=tuple(map(str, range(len(hits)))),
            labels=(0,) * len(hits),
            predictions=tuple(0 if hit else 1 for hit in hits),
            log_losses=tuple(0.1 if hit else 2.0 for hit in hits),
        )
        rows = like.data.rows | {"test": len(hits)}
        # What is drawn from the seed differs from seed to seed and is the same for all arms.
        sameness = like.sameness.model_copy(
            update={"head_sha256": f"{trial.seed:x}" * 20, "order_sha256": f"{trial.seed:x}" * 30}
        )
        results[trial.id] = like.model_copy(
            update={
                "trial": trial,
                "items": items,
                "scores": experiment.conditions.task.scores(items),
                "data": like.data.model_copy(update={"rows": rows}),
                "sameness": sameness,
            }
        )
    return results


def hits(share: float, count: int = 2000) -> Right:
    """So large a share of the items, the first ones."""
    return np.arange(count) < round(share * count)
