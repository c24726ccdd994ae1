"""What the machine could do: its matrix-product peak, and how much of it a training put to use."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median

from contestants import MAX_LENGTH, Ground, Row
from loralab.engine.precision import Precision
from loralab.pretrained import load_tokenizer

LAYERS, WIDTH, INNER = 6, 768, 3072  # DistilBERT-base


def matrix_peak(precision: Precision) -> float:
    """Return FLOP per second of the model's matrix products, in a fresh process: the median over shapes."""
    done = subprocess.run([sys.executable, __file__, precision], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure_peak(precision: str) -> float:
    """Measure it here: the products of a batch of 8 x 288 tokens, forward and backward."""
    import torch

    rates = []
    for tokens, inner, outer in ((2304, WIDTH, WIDTH), (2304, WIDTH, INNER), (2304, INNER, WIDTH)):
        left = torch.randn(tokens, inner, dtype=getattr(torch, precision))
        right = torch.randn(inner, outer, dtype=getattr(torch, precision))
        seconds = []
        for _ in range(15):
            begun = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - begun)
        rates.append(2 * tokens * inner * outer / median(seconds))
    return median(rates)


def useful(ground: Ground, method: str, ours: Row) -> float:
    """Return the FLOP per second of a trial that real tokens needed: padding, recomputation and casts are no use.

    A matrix of n weights takes 2 n FLOP a token forward and as many for the gradient of its input; a trained one as
    many again for its own. Attention takes 4 x tokens x width a token forward and twice that backward.
    """
    tokenizer = load_tokenizer(str(ground.model))
    lines = (ground.data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    lengths = [len(one) for one in tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
    weights = LAYERS * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER)
    passes = 3 if method == "full" else 2
    attention = 3 * 4 * LAYERS * WIDTH * sum(length**2 for length in lengths) / sum(lengths)
    return float(ours["tokens_per_second"] * (passes * 2 * weights + attention))


if __name__ == "__main__":
    print(measure_peak(sys.argv[1]))
