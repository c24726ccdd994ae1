"""Drawing test items again: scores of every arm and seed under the same random weights of the items.

Items and seeds are crossed: every seed is scored on the same items. So a draw has one weight an item, shared by all
arms and seeds (Owen 2007, arXiv:0712.1111, the pigeonhole bootstrap; Owen and Eckles 2012, arXiv:1106.2125, for weights
instead of counts). The weights are exponential, which makes it Rubin's Bayesian bootstrap (1981): no label ever loses
all of its items, and F1 stays defined.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DRAWS = 10_000
_AT_ONCE = 4_000_000  # weights, or means, in memory together


def resample(totals: npt.NDArray[np.float32], score: Callable[[Array], Array], draws: int, seed: int = 0) -> Array:
    """Return what `score` makes of the items' weighted mean in each draw: (draws, ...).

    `totals` is (items, ..., columns): what an item adds to each of the columns, for every arm and seed between. `score`
    takes (..., columns), the columns' means over items, and returns (...).
    """
    generator = np.random.default_rng(seed)
    items = len(totals)
    flat = np.ascontiguousarray(totals.reshape(items, -1), dtype=np.float32)
    at_once = max(1, _AT_ONCE // max(flat.shape))
    found = []
    for begun in range(0, draws, at_once):
        weights = generator.standard_exponential((min(at_once, draws - begun), items), dtype=np.float32)
        means = (weights @ flat) / weights.sum(axis=1, keepdims=True)
        found.append(score(means.astype(np.float64).reshape(-1, *totals.shape[1:])))
    return np.concatenate(found)
