"""What may be said of an arm beside the baseline: one short rule for each answer.

The gain is the arm's score less the baseline's, its sign turned where lower is better. Its *direction* is tested on
both sides at the level; the *margin* by one-sided tests at the level each, those of non-inferiority and of equivalence
(Schuirmann 1987). Over several arms every test's p is adjusted by Holm (1979), for each claim apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from loralab.statistics.estimate import Estimate, at_margin

LEVEL = 0.05  # the chance of a false claim over all arms, for each kind of claim


class Direction(Enum):
    """Which way an arm differs from the baseline."""

    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not shown"


class MarginAnswer(Enum):
    """Whether an arm's difference from the baseline is one that matters."""

    INFERIOR = "inferior"
    EQUIVALENT = "equivalent"
    NON_INFERIOR = "non-inferior"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Evidence:
    """The p of each claim, adjusted for the number of arms."""

    direction: float  # two-sided
    inferior: float  # that the gain is below minus the margin
    non_inferior: float  # that the gain is above minus the margin
    equivalent: float  # that the gain is between minus the margin and the margin


@dataclass(frozen=True)
class Verdict:
    """One arm beside the baseline in the primary metric."""

    gain: Estimate
    at_margin: Estimate  # the same, with the variance by which the margin is tested
    margin: float
    level: float
    evidence: Evidence

    @property
    def direction(self) -> Direction:
        """Which way it differs, if that is shown."""
        return direction(self.gain.value, self.evidence.direction, self.level)

    @property
    def margin_answer(self) -> MarginAnswer:
        """Whether it differs by what matters."""
        return margin_answer(self.direction, self.evidence, self.level)

    @property
    def is_non_inferior(self) -> bool:
        """Tell whether it was shown to be worse by less than the margin, if at all."""
        return self.margin_answer in (MarginAnswer.EQUIVALENT, MarginAnswer.NON_INFERIOR)


def direction(gain: float, p: float, level: float) -> Direction:
    """Return the direction of `gain`, where its two-sided p is at most the level."""
    if p > level:
        return Direction.NOT_SHOWN
    return Direction.BETTER if gain > 0 else Direction.WORSE


def margin_answer(shown: Direction, evidence: Evidence, level: float) -> MarginAnswer:
    """Return the strongest claim whose p is at most the level, in keeping with the direction that is shown.

    What isn't shown to be worse isn't called inferior, and what is better isn't worse by a margin.
    """
    if evidence.inferior <= level and shown is Direction.WORSE:
        return MarginAnswer.INFERIOR
    if evidence.equivalent <= level:
        return MarginAnswer.EQUIVALENT
    is_non_inferior = evidence.non_inferior <= level or shown is Direction.BETTER
    return MarginAnswer.NON_INFERIOR if is_non_inferior else MarginAnswer.UNDECIDED


def judge(
    gains: Mapping[str, Estimate | None], margin: float, level: float = LEVEL, *, are_shares: bool = False
) -> dict[str, Verdict]:
    """Judge every arm that has an estimate of its gain; `are_shares`: of the items, such as accuracy.

    An arm without one was planned all the same and counts among those that are adjusted for.
    """
    known = {name: gain for name, gain in gains.items() if gain is not None}

    def tested(gain: Estimate) -> Estimate:
        return at_margin(gain, margin) if are_shares else gain

    below = {name: tested(gain) for name, gain in known.items()}  # held against -margin
    above = [tested(gain.mirrored()) for gain in known.values()]  # held against margin, its sign turned
    unknown = [1.0] * (len(gains) - len(known))
    columns = {
        "direction": [gain.p_apart() for gain in known.values()],
        "inferior": [gain.p_below(-margin) for gain in below.values()],
        "non_inferior": [gain.p_above(-margin) for gain in below.values()],
        "equivalent": [
            max(low.p_above(-margin), high.p_above(-margin)) for low, high in zip(below.values(), above, strict=True)
        ],
    }
    adjusted = {claim: holm([*column, *unknown]) for claim, column in columns.items()}
    return {
        name: Verdict(
            gain,
            below[name],
            margin,
            level,
            Evidence(**{claim: column[place] for claim, column in adjusted.items()}),
        )
        for place, (name, gain) in enumerate(known.items())
    }


def holm(ps: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Holm's step-down (1979), in the order given."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, ps[place] * (len(ps) - rank)))
        adjusted[place] = largest
    return adjusted


def mcnemar(own: Sequence[bool], baseline: Sequence[bool]) -> float:
    """Return the p of McNemar's exact test (1947) of one seed: whether the arms are right equally often.

    It is about the two models at hand, not about the methods, and is never pooled over seeds, whose items are the same.
    """
    from scipy.stats import binomtest

    gained = sum(one and not other for one, other in zip(own, baseline, strict=True))
    lost = sum(other and not one for one, other in zip(own, baseline, strict=True))
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
