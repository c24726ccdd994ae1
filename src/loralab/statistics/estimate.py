"""A mean over crossed seeds and items, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from loralab.statistics.resampling import Array

SMALLEST_P = 1e-100  # smaller ones are taken for zero


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds of a score on items, with the variance of that mean by its causes.

    With one seed, the variance that seeds add is unknown, and the interval covers items only.

    The interval's reach is the root of the squared reaches that each cause would have alone, by Student's t with the
    degrees of freedom of its own (Howe 1974, JASA 69; Zou and Donner 2008). Satterthwaite's single number of degrees,
    estimated from so few seeds, covers 92 % instead of 95 where three seeds make up most of the variance.
    """

    value: float
    seeds: int
    items: int
    seed_variance: float  # of the mean: what other seeds would change
    item_variance: float  # of the mean: what other items would change, with these seeds
    # The part of `item_variance` that more seeds would average away, since a seed gets other items right.
    interaction: float

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.seed_variance + self.item_variance)

    def reach(self, tail: float) -> float:
        """Return how far the one-sided bound that errs with the chance `tail` lies from the value."""
        from scipy.special import stdtrit

        of_items = stdtrit(max(1, self.items - 1), tail) ** 2 * self.item_variance
        of_seeds = stdtrit(self.seeds - 1, tail) ** 2 * self.seed_variance if self.seed_variance else 0.0
        return math.sqrt(of_items + of_seeds)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval."""
        reach = self.reach((1 - level) / 2)
        return self.value - reach, self.value + reach

    def p_above(self, bound: float) -> float:
        """Return the one-sided p of the claim that the true value lies above `bound`."""
        distance = self.value - bound
        if self.error == 0:  # nothing varied at all
            return 0.0 if distance > 0 else 1.0
        tail = self._tail(abs(distance))
        return tail if distance > 0 else 1 - tail

    def p_below(self, bound: float) -> float:
        """Return the one-sided p of the claim that the true value lies below `bound`."""
        return self.mirrored().p_above(-bound)

    def p_apart(self) -> float:
        """Return the two-sided p of the claim that the true value is not zero."""
        return min(1.0, 2 * min(self.p_above(0), self.p_below(0)))

    def mirrored(self) -> Estimate:
        """Return the estimate of the value with its sign turned."""
        return replace(self, value=-self.value)

    def _tail(self, distance: float) -> float:
        """Return the chance with which a bound of this reach errs."""
        from scipy.optimize import brentq

        if distance >= self.reach(SMALLEST_P):
            return 0.0
        # On the logarithm, since p spans hundreds of orders of magnitude; at a half the reach is zero.
        log = brentq(lambda log: self.reach(math.exp(log)) - distance, math.log(SMALLEST_P), math.log(0.5))
        return math.exp(float(log))


def crossed(scores: Array, draws: Array, items: int, least_item_variance: float = 0.0) -> Estimate:
    """Estimate the mean of `scores`, (seeds), from `draws`, (draws, seeds): the same scores with the items drawn again.

    The variance of a mean over S seeds and N items has three parts: seeds, items, and their interaction, which both the
    variance over seeds and that over items contain. It is counted once: the seeds' part is their sample variance (that
    of resampled seeds times S / (S - 1), Owen 2007) less the interaction, and no less than zero.

    `least_item_variance` stands in where the items at hand show less, such as none.
    """
    seeds = len(scores)
    of_each = float(draws.var(axis=0, ddof=1).mean())
    of_mean = float(draws.mean(axis=1).var(ddof=1))
    of_items = max(of_mean, least_item_variance)
    if seeds == 1:
        return Estimate(float(scores[0]), 1, items, 0.0, of_items, 0.0)
    # Each seed's own item variance is (items + interaction) / N, that of their mean (items + interaction / S) / N.
    interaction = min(max(0.0, (of_each - of_mean) / (seeds - 1)), of_mean)
    of_seeds = max(0.0, float(np.var(scores, ddof=1)) / seeds - interaction)
    return Estimate(float(np.mean(scores)), seeds, items, of_seeds, of_items, interaction)


def with_more(estimate: Estimate, seeds: int, items: int) -> Estimate:
    """Return what the estimate would be with so many seeds and items, if all else stayed."""
    of_seeds, of_items = estimate.seeds / seeds, estimate.items / items
    return replace(
        estimate,
        seeds=seeds,
        items=items,
        seed_variance=estimate.seed_variance * of_seeds,
        item_variance=(estimate.item_variance - estimate.interaction * (1 - of_seeds)) * of_items,
        interaction=estimate.interaction * of_seeds * of_items,
    )
