"""What each part of the engine is worth: a training step of DistilBERT's size, with one part more each time.

    python benchmarks/parts.py

Random weights, 8 texts of 288 tokens, bfloat16 where the processor multiplies it and nobody asks for float32. The
variants take turns; the table, medians of `--repeats`, is written into docs/engine.md, where each precision has its
own. Run nothing beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, DistilBertConfig

from asking import PROCESSOR, command_line, machine_here, precision_of
from loralab.engine.adapters import adapters_in_one
from loralab.engine.attention import attention_in_pieces
from loralab.engine.casts import inputs_cast_once
from loralab.engine.dropout import speed_up_dropout
from loralab.engine.frozen import frozen_weights_light
from loralab.engine.precision import Precision
from loralab.memory import keep_few_kernels
from loralab.methods import Full, Lora
from marks import put

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
TEXTS, TOKENS = 8, 288
ROUNDED, DROPOUT, CASTS = "frozen weights in bfloat16", "fast dropout", "casts once"
LORA = Lora(rank=8, alpha=16, targets=("attention",))


def frozen_weights_rounded(network: Any, _: torch.device) -> AbstractContextManager[None]:
    """Round the weights that LoRA leaves as they are; a network that is trained whole has none."""
    is_adapted = any(not weight.requires_grad for weight in network.parameters())
    return frozen_weights_light(network, LORA if is_adapted else Full(), "bfloat16", None)


INSIDE: dict[str, Callable[..., AbstractContextManager[None]]] = {
    ROUNDED: frozen_weights_rounded,
    "attention in pieces": attention_in_pieces,
    "adapters in one": adapters_in_one,
    CASTS: inputs_cast_once,
}
OF_BFLOAT16 = (ROUNDED, CASTS)
VARIANTS = (("lora", 0.1), ("lora", 0), ("full", 0.1), ("full", 0))


def main() -> None:
    """Time the variants in turn, and write the table."""
    repeats, precision = asked(__doc__, 5)
    parts = parts_in(precision)
    lines = heading("a step, with each part on top of those before it", precision, repeats)
    columns = [timed(method, rate, parts, precision, repeats) for method, rate in VARIANTS]
    for part, *milliseconds in zip(["plain", *parts], *columns, strict=True):
        lines.append(f"| {part} | {' | '.join(f'{one:.0f} ms' for one in milliseconds)} |")
    put(DOCUMENT, f"parts in {precision}", "\n".join(lines))
    print("\n".join(lines))


def asked(description: str | None, usual: int) -> tuple[int, Precision]:
    """Return how often to repeat and in which number format, by the command line; and keep the kernels of a trial."""
    parser = command_line(description)
    parser.add_argument("--repeats", type=int, default=usual)
    given = parser.parse_args()
    keep_few_kernels()
    return int(given.repeats), precision_of(given)


def parts_in(precision: Precision) -> list[str]:
    """Return the parts that there are in this precision, in the order in which they are added."""
    return [part for part in (DROPOUT, *INSIDE) if precision == "bfloat16" or part not in OF_BFLOAT16]


def heading(what: str, precision: Precision, repeats: int) -> list[str]:
    """Return how a table begins that has a column for each of VARIANTS."""
    return [
        f"{machine_here(precision)}; median of {repeats}.",
        "",
        f"| {what} | LoRA | LoRA, no dropout | full | full, no dropout |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]


def timed(method: str, dropout: float, parts: list[str], precision: Precision, repeats: int) -> list[float]:
    """Return the milliseconds of a step with no part, with the first part, with the first two, and so on."""
    variants = [parts[:count] for count in range(len(parts) + 1)]
    networks = [build(method, dropout, chosen) for chosen in variants]
    seconds: list[list[float]] = [[] for _ in variants]
    for repeat in range(repeats + 1):
        for chosen, network, found in zip(variants, networks, seconds, strict=True):
            with within(network, chosen):
                begun = time.perf_counter()
                step(network, precision)
            if repeat:  # the first one warms up
                found.append(time.perf_counter() - begun)
    return [1000 * median(found) for found in seconds]


def build(method: str, dropout: float, parts: list[str]) -> Any:
    """Return a network in training mode, with the parts that stay on it."""
    torch.manual_seed(0)
    rates = {"dropout": dropout, "attention_dropout": dropout, "seq_classif_dropout": 2 * dropout}
    network = AutoModelForSequenceClassification.from_config(DistilBertConfig(num_labels=2, **rates))
    if method == "lora":
        targets = ["q_lin", "v_lin"]
        config = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=dropout, target_modules=targets)
        network = get_peft_model(network, config)
    if DROPOUT in parts:
        speed_up_dropout(network)
    return network.train()


def within(network: Any, parts: list[str]) -> AbstractContextManager[Any]:
    """Return a context in which the other parts work."""
    stack = ExitStack()
    for part, context in INSIDE.items():
        if part in parts:
            stack.enter_context(context(network, PROCESSOR))
    return stack


def step(network: Any, precision: Precision, tokens: int = TOKENS) -> None:
    """Go forward and backward once, through texts of so many tokens."""
    ids = torch.arange(TEXTS * tokens).view(TEXTS, tokens) % 30_000
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = network(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.arange(TEXTS) % 2).loss
    loss.backward()
    network.zero_grad()


if __name__ == "__main__":
    main()
