"""The test texts on which the arms disagree, the most confident errors first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loralab.comparison import Comparison
from loralab.results import Measurement
from loralab.tasks.items import LabelScores

AT_MOST = 20  # texts


@dataclass(frozen=True)
class Answer:
    """What an arm makes of a text, its seeds together."""

    predicted: str  # by most seeds
    is_right: bool
    of_true_label: float  # the probability that it gives to the true label, the mean over seeds


@dataclass(frozen=True)
class Disputed:
    """A test text that some arms get right and others wrong."""

    id: str
    label: str  # the true one
    answers: Mapping[str, Answer]  # by arm

    @property
    def worst(self) -> float:
        """The least probability that an arm which is wrong gives to the true label."""
        return min(answer.of_true_label for answer in self.answers.values() if not answer.is_right)


def disputed(comparison: Comparison) -> list[Disputed]:
    """Return the texts that some arms get right and others wrong, at most AT_MOST, the most confident errors first.

    Void arms have no say. A text on which an arm's own seeds are split is left out. Empty where there are no labels, or
    where the arms were scored on different texts.
    """
    sound = [arm for arm in comparison.arms.values() if not arm.is_void]
    scores = {arm.name: _label_scores(list(arm.measurements.values())) for arm in sound}
    scores = {name: found for name, found in scores.items() if found}
    every = [one for of_arm in scores.values() for one in of_arm]
    if len(scores) < 2 or any(one.ids != every[0].ids for one in every):
        return []
    names = comparison.measurements[0].data.label_names
    votes = {name: _votes(of_arm) for name, of_arm in scores.items()}
    sure = {name: np.exp(-np.array([one.log_losses for one in found])).mean(axis=0) for name, found in scores.items()}
    labels = np.array(every[0].labels)
    rights = np.array([vote.predicted == labels for vote in votes.values()])
    is_split = np.array([vote.is_split for vote in votes.values()]).any(axis=0)
    found = [
        Disputed(
            id=every[0].ids[place],
            label=names[labels[place]],
            answers={
                name: Answer(names[vote.predicted[place]], bool(is_right[place]), float(sure[name][place]))
                for (name, vote), is_right in zip(votes.items(), rights, strict=True)
            },
        )
        for place in np.flatnonzero(rights.any(axis=0) & ~rights.all(axis=0) & ~is_split)
    ]
    return sorted(found, key=lambda one: one.worst)[:AT_MOST]


def _label_scores(measurements: Sequence[Measurement]) -> list[LabelScores]:
    return [found.items for found in measurements if isinstance(found.items, LabelScores)]


@dataclass(frozen=True)
class _Votes:
    """What the seeds of an arm say, text by text."""

    predicted: npt.NDArray[np.int64]  # by most seeds
    is_split: npt.NDArray[np.bool_]  # no answer has more seeds than every other one


def _votes(of_seeds: Sequence[LabelScores]) -> _Votes:
    predictions = np.array([one.predictions for one in of_seeds])  # (seeds, texts)
    counts = np.array([(predictions == label).sum(axis=0) for label in range(of_seeds[0].label_count)])
    return _Votes(counts.argmax(axis=0), (counts == counts.max(axis=0)).sum(axis=0) > 1)
