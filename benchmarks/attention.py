"""Attention in pieces beside PyTorch's, by length: 8 texts, 12 heads of 64, forward and backward.

    python benchmarks/attention.py

In the precision that training takes on this processor, unless one is named. They take turns; the table, medians of
`--repeats`, is written into docs/engine.md, where each precision has its own. Run nothing beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from asking import machine_here
from loralab.engine import attention
from marks import put
from parts import asked

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
TEXTS, HEADS, WIDTH = 8, 12, 64
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)
MODULE: Any = SimpleNamespace(is_causal=False)


def main() -> None:
    """Time both, and write the table."""
    repeats, precision = asked(__doc__, 9)
    attention.pays = lambda *_: True  # in pieces, even where the engine would leave it to PyTorch
    lines = [
        f"{machine_here(precision)}; milliseconds, median of {repeats}.",
        "",
        "| tokens | PyTorch's | in pieces | PyTorch's, dropout | in pieces, dropout |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for length in LENGTHS:
        found = timed(length, getattr(torch, precision), repeats)
        lines.append(f"| {length} | {' | '.join(f'{one:.1f}' for one in found)} |")
    put(DOCUMENT, f"attention in {precision}", "\n".join(lines))
    print("\n".join(lines))


def timed(length: int, dtype: torch.dtype, repeats: int) -> list[float]:
    """Return the milliseconds of each of the four."""
    contestants: list[tuple[Callable[..., Any], float]] = [
        (act, dropout) for dropout in (0.0, 0.1) for act in (sdpa_attention_forward, attention.attend)
    ]
    inputs = [torch.randn(TEXTS, HEADS, length, WIDTH, dtype=dtype, requires_grad=True) for _ in range(3)]
    seconds: list[list[float]] = [[] for _ in contestants]
    for repeat in range(repeats + 1):
        for (act, dropout), found in zip(contestants, seconds, strict=True):
            begun = time.perf_counter()
            out, _ = act(MODULE, *inputs, None, dropout=dropout, is_causal=False)
            torch.autograd.backward(out.float().sum())
            if repeat:  # the first one warms up
                found.append(time.perf_counter() - begun)
    return [1000 * median(found) for found in seconds]


if __name__ == "__main__":
    main()
