"""What each part of the engine is worth: a training step of DistilBERT's size, with one part more each time.

    python benchmarks/parts.py

Random weights, 8 texts of 288 tokens, bfloat16. The variants take turns; the table, medians of `--repeats`, is written
into docs/engine.md. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from loralab.memory import keep_few_kernels
from marks import put

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
TEXTS, TOKENS = 8, 288
PARTS = ("plain", "frozen weights in bfloat16", "fast dropout", "attention in pieces", "adapters in one", "casts once")


def main() -> None:
    """Time the variants in turn, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    keep_few_kernels()
    lines = [
        "| a step, with each part on top of those before it | LoRA | LoRA, no dropout | full | full, no dropout |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    columns = [
        timed(method, rate, given.repeats) for method, rate in (("lora", 0.1), ("lora", 0), ("full", 0.1), ("full", 0))
    ]
    for place, part in enumerate(PARTS):
        cells = [f"{column[place]:.0f} ms" for column in columns]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    put(DOCUMENT, "parts", "\n".join(lines))
    print("\n".join(lines))


def timed(method: str, dropout: float, repeats: int) -> list[float]:
    """Return the milliseconds of a step with the first part alone, with the first two, and so on."""
    networks = [build(method, dropout, count) for count in range(len(PARTS))]
    seconds: list[list[float]] = [[] for _ in PARTS]
    for repeat in range(repeats + 1):
        for count, network in enumerate(networks):
            with within(network, count):
                begun = time.perf_counter()
                step(network)
            if repeat:  # the first one warms up
                seconds[count].append(time.perf_counter() - begun)
    return [1000 * median(found) for found in seconds]


def build(method: str, dropout: float, parts: int) -> Any:
    """Return a network in training mode, with the parts that stay on it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, DistilBertConfig

    from loralab.engine.dropout import speed_up_dropout

    torch.manual_seed(0)
    rates = {"dropout": dropout, "attention_dropout": dropout, "seq_classif_dropout": 2 * dropout}
    network = AutoModelForSequenceClassification.from_config(DistilBertConfig(num_labels=2, **rates))
    if method == "lora":
        targets = ["q_lin", "v_lin"]
        config = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=dropout, target_modules=targets)
        network = get_peft_model(network, config)
    if parts >= PARTS.index("frozen weights in bfloat16"):
        for module in network.modules():
            if isinstance(module, torch.nn.Linear) and not module.weight.requires_grad:
                module.weight.data = module.weight.data.to(torch.bfloat16)
    if parts >= PARTS.index("fast dropout"):
        speed_up_dropout(network)
    return network.train()


def within(network: Any, parts: int) -> AbstractContextManager[Any]:
    """Return a context in which the other parts work."""
    import torch

    from loralab.engine.adapters import adapters_in_one
    from loralab.engine.attention import attention_in_pieces
    from loralab.engine.casts import inputs_cast_once

    stack, processor = ExitStack(), torch.device("cpu")
    contexts: dict[str, Callable[..., AbstractContextManager[None]]] = {
        "attention in pieces": attention_in_pieces,
        "adapters in one": adapters_in_one,
        "casts once": inputs_cast_once,
    }
    for name, context in contexts.items():
        if parts >= PARTS.index(name):
            stack.enter_context(context(network, processor))
    return stack


def step(network: Any) -> None:
    """Go forward and backward once."""
    import torch

    ids = torch.arange(TEXTS * TOKENS).view(TEXTS, TOKENS) % 30_000
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.arange(TEXTS) % 2).loss
    loss.backward()
    network.zero_grad()


if __name__ == "__main__":
    main()
