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
    estimated from so few seeds, covers too little where three seeds make up most of the variance.
    """

    value: float
    seeds: int
    items: int
    seed_variance: float  # of the mean: what other seeds would change, the interaction within it
    item_variance: float  # of the mean: what other items would change, however many the seeds
    interaction: float  # the part of `seed_variance` that more items would average away: a seed gets other items right

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

    def interval(self, coverage: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval that covers the true value with the chance `coverage`."""
        reach = self.reach((1 - coverage) / 2)
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
    variance over seeds and that over items contain. It is counted once, with the seeds, whose few degrees of freedom
    are known: their part is their sample variance (that of resampled seeds times S / (S - 1), Owen 2007), and the
    items' part what the mean over seeds varies with the items less the interaction.

    `least_item_variance` stands in where the items at hand show less, such as none.
    """
    seeds = len(scores)
    unbiased = (items + 1) / max(1, items - 1)  # the Bayesian bootstrap's variance is smaller than the sample's by this
    of_each = float(draws.var(axis=0, ddof=1).mean()) * unbiased
    of_mean = float(draws.mean(axis=1).var(ddof=1)) * unbiased
    if seeds == 1:
        return Estimate(float(scores[0]), 1, items, 0.0, max(of_mean, least_item_variance), 0.0)
    # Each seed's own item variance is (items + interaction) / N, that of their mean (items + interaction / S) / N.
    interaction = min(max(0.0, (of_each - of_mean) / (seeds - 1)), of_mean)
    return Estimate(
        value=float(np.mean(scores)),
        seeds=seeds,
        items=items,
        seed_variance=float(np.var(scores, ddof=1)) / seeds,
        item_variance=max(of_mean - interaction, least_item_variance),
        interaction=interaction,
    )


def with_more(estimate: Estimate, seeds: int, items: int) -> Estimate:
    """Return what the estimate would be with so many seeds and items, if all else stayed."""
    of_seeds, of_items = estimate.seeds / seeds, estimate.items / items
    averaged = min(estimate.seed_variance, estimate.interaction)
    return replace(
        estimate,
        seeds=seeds,
        items=items,
        seed_variance=(estimate.seed_variance - averaged * (1 - of_items)) * of_seeds,
        item_variance=estimate.item_variance * of_items,
        interaction=estimate.interaction * of_seeds * of_items,
    )


def at_margin(estimate: Estimate, margin: float) -> Estimate:
    """Return the estimate of a difference of shares with the item variance that it would have, were the truth -margin.

    Where few items differ, what the sample shows of them is small just when its difference is, and a test by the
    sample's variance claims too much. The variance is that of the likeliest shares of items gained and lost whose
    difference is -margin (Tango 1998, Statistics in Medicine 17, 891-908), never less than the sample's own.
    """
    differing = estimate.item_variance * estimate.items + estimate.value**2
    gained, lost = max(0.0, (differing + estimate.value) / 2), max(0.0, (differing - estimate.value) / 2)
    # The likelihood gained log(q) + lost log(q + m) + (1 - gained - lost) log(1 - 2q - m) is greatest at this root.
    linear = gained + lost - margin * (2 + gained - lost)
    likeliest = (linear + math.sqrt(linear**2 + 8 * gained * margin * (1 - margin))) / 4
    restricted = (2 * likeliest + margin - margin**2) / estimate.items
    return replace(estimate, item_variance=max(estimate.item_variance, restricted))
