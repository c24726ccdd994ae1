"""The test texts on which the arms disagree, the most confident errors first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

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

    A text on which an arm's own seeds are split is left out. Empty where there are no labels, or where the arms were
    scored on different texts.
    """
    scores = {arm.name: _label_scores(list(arm.measurements.values())) for arm in comparison.arms.values()}
    scores = {name: found for name, found in scores.items() if found}
    every = [one for of_arm in scores.values() for one in of_arm]
    if len(scores) < 2 or any(one.ids != every[0].ids for one in every):
        return []
    names = comparison.measurements[0].data.label_names
    found = []
    for place, id_ in enumerate(every[0].ids):
        if any(_is_split(of_arm, place) for of_arm in scores.values()):
            continue
        answers = {name: _answer(of_arm, place, names) for name, of_arm in scores.items()}
        if len({answer.is_right for answer in answers.values()}) > 1:
            found.append(Disputed(id_, names[every[0].labels[place]], answers))
    return sorted(found, key=lambda one: one.worst)[:AT_MOST]


def _label_scores(measurements: Sequence[Measurement]) -> list[LabelScores]:
    return [found.items for found in measurements if isinstance(found.items, LabelScores)]


def _is_split(of_seeds: Sequence[LabelScores], place: int) -> bool:
    """Return whether no answer has more seeds than every other one: then the arm has none."""
    first, *others = Counter(one.predictions[place] for one in of_seeds).most_common(2)
    return bool(others) and others[0][1] == first[1]


def _answer(of_seeds: Sequence[LabelScores], place: int, names: Sequence[str]) -> Answer:
    predicted = Counter(one.predictions[place] for one in of_seeds).most_common(1)[0][0]
    sure = fmean(math.exp(-one.log_losses[place]) for one in of_seeds)
    return Answer(names[predicted], predicted == of_seeds[0].labels[place], sure)
