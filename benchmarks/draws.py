"""Times the verdict on a large comparison: 25,000 test items, 5 seeds, 6 arms, 10,000 draws.

python benchmarks/draws.py
"""

from __future__ import annotations

import time

import numpy as np

from loralab.statistics.decisions import judge
from loralab.statistics.estimate import crossed
from loralab.statistics.resampling import DRAWS, resample

ITEMS, SEEDS, ARMS = 25_000, 5, 6


def main() -> None:
    """Draw, estimate, judge; print the seconds."""
    right = (np.random.default_rng(0).random((ITEMS, ARMS, SEEDS)) < 0.9).astype(np.float32)
    begun = time.perf_counter()
    drawn = resample(right[..., None], lambda means: means[..., 0], DRAWS)
    scores = right.mean(axis=0, dtype=np.float64)
    gains = {str(arm): crossed(scores[arm] - scores[0], drawn[:, arm] - drawn[:, 0], ITEMS) for arm in range(1, ARMS)}
    judge(gains, margin=0.01)
    print(f"{ITEMS:,} items, {SEEDS} seeds, {ARMS} arms, {DRAWS:,} draws: {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
