"""Batches of how many tokens a processor scores fastest: DistilBERT's size, 32 texts of 20 to 512 tokens.

    python benchmarks/evaluation.py

The sizes take turns, in float32 as final scores are computed, and in bfloat16 where the processor multiplies it. The
table, medians of `--repeats`, is written into docs/engine.md. Run nothing beside it.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from asking import PROCESSOR, machine_here
from loralab.data.rows import Indices
from loralab.engine.activations import fuse_activations
from loralab.engine.attention import attention_in_pieces
from loralab.engine.batches import evaluation_batches
from marks import put
from parts import asked, build

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
SIZES = (512, 1024, 2048, 4096, 8192)  # tokens of a batch, padding included
LENGTHS: Indices = np.random.default_rng(0).integers(20, 513, size=32)


def main() -> None:
    """Time the sizes in turn, and write the table."""
    repeats, kind = asked(__doc__, 3)
    network = build("full", 0, []).eval()
    fuse_activations(network)
    columns = {precision: timed(network, precision, repeats) for precision in dict.fromkeys(("float32", kind))}
    lines = [
        f"{machine_here(kind)}; texts a second, median of {repeats}.",
        "",
        f"| tokens in a batch | {' | '.join(columns)} |",
        f"| ---: |{' ---: |' * len(columns)}",
    ]
    for size, *found in zip(SIZES, *columns.values(), strict=True):
        lines.append(f"| {size:,} | {' | '.join(f'{one:.1f}' for one in found)} |")
    put(DOCUMENT, "evaluation", "\n".join(lines))
    print("\n".join(lines))


def timed(network: Any, precision: str, repeats: int) -> list[float]:
    """Return the texts a second at each size."""
    seconds: list[list[float]] = [[] for _ in SIZES]
    for repeat in range(repeats + 1):
        for size, found in zip(SIZES, seconds, strict=True):
            begun = time.perf_counter()
            score(network, size, precision)
            if repeat:  # the first one warms up
                found.append(time.perf_counter() - begun)
    return [len(LENGTHS) / median(found) for found in seconds]


def score(network: Any, size: int, precision: str) -> None:
    """Put all texts through the network, in batches of like length of at most so many tokens."""
    lower = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with attention_in_pieces(network, PROCESSOR), torch.inference_mode(), lower:
        for rows in evaluation_batches(LENGTHS, len(LENGTHS), size):
            lengths = torch.from_numpy(LENGTHS[rows])[:, None]
            mask = (torch.arange(int(lengths.max())) < lengths).long()
            network(input_ids=mask * 7, attention_mask=mask)


if __name__ == "__main__":
    main()
