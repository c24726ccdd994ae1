"""Ratios of costs, paired by seed and compared on the log scale, where twice and half are equally far from one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over seeds with its 95 % interval, which is unknown for one seed."""

    value: float
    interval: tuple[float, float] | None


def geometric(ratios: Sequence[float]) -> Ratio:
    """Return the geometric mean of positive `ratios` with the interval of Student's t on their logarithms."""
    from scipy.stats import t

    logs = [math.log(ratio) for ratio in ratios]
    mean = fmean(logs)
    if len(logs) == 1:
        return Ratio(math.exp(mean), None)
    reach = stdev(logs) / math.sqrt(len(logs)) * float(t.ppf(0.975, len(logs) - 1))
    return Ratio(math.exp(mean), (math.exp(mean - reach), math.exp(mean + reach)))
