"""Where the time of a training step goes: matrix products, attention, dropout and the rest, from PyTorch's profiler.

    python benchmarks/where.py

A network of DistilBERT's size with every part of the engine, the steps of `parts.py`. The table, medians of
`--repeats`, is written into docs/engine.md, where each precision has its own. Run nothing beside it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from torch.profiler import ProfilerActivity, profile

from loralab.engine.activations import fuse_activations
from loralab.engine.precision import Precision, choose_precision
from loralab.memory import keep_few_kernels
from marks import put
from parts import PROCESSOR, VARIANTS, build, heading, parts_in, step, within

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
# A piece of work belongs to the outermost of these that it is part of; names as the profiler gives them.
WORK = {
    "attention": ("_Attention", "scaled_dot_product", "flash_attention"),
    "dropout": ("_Drop",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn", "_Adapted"),
    "activation": ("gelu", "Gelu"),
    "normalisation": ("layer_norm", "LayerNorm"),
}
REST = "additions, copies, casts and the rest"


def main() -> None:
    """Profile, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    keep_few_kernels()
    precision = choose_precision("auto", PROCESSOR)
    columns = [profiled(method, rate, precision, given.repeats) for method, rate in VARIANTS]
    lines = heading("of a step", precision, given.repeats)
    for work in (*WORK, REST):
        lines.append(f"| {work} | {' | '.join(f'{column[work]:.0%}' for column in columns)} |")
    put(DOCUMENT, f"where in {precision}", "\n".join(lines))
    print("\n".join(lines))


def profiled(method: str, dropout: float, precision: Precision, repeats: int) -> dict[str, float]:
    """Return the share of a step's time that each kind of work takes."""
    parts = parts_in(precision)
    network = build(method, dropout, parts)
    fuse_activations(network)
    shares: dict[str, list[float]] = defaultdict(list)
    with within(network, parts):
        step(network, precision)  # warms up
        for _ in range(repeats):
            with profile(activities=[ProfilerActivity.CPU]) as found:
                step(network, precision)
            for work, share in _shares(found.events()).items():
                shares[work].append(share)
    return {work: median(found) for work, found in shares.items()}


def _shares(events: Any) -> dict[str, float]:
    spent = dict.fromkeys((*WORK, REST), 0.0)
    for event in events:
        spent[_work(event)] += event.self_cpu_time_total
    return {work: one / sum(spent.values()) for work, one in spent.items()}


def _work(event: Any) -> str:
    outermost = REST
    while event is not None:
        outermost = next((work for work, names in WORK.items() if any(name in event.name for name in names)), outermost)
        event = event.cpu_parent
    return outermost


if __name__ == "__main__":
    main()
