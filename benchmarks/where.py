"""Where the time of a training step goes: matrix products, attention, dropout and the rest, from PyTorch's profiler.

    python benchmarks/where.py

Networks of DistilBERT's and GPT-2's size with every part of the engine: the steps of `parts.py`, and blocks of 350
tokens for a language model with LoRA on all but its output. The tables, medians of `--repeats`, are written into
docs/engine.md, where each precision has its own. Run nothing beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from peft import LoraConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import GPT2Config, GPT2LMHeadModel

from loralab.engine.activations import fuse_activations
from loralab.engine.dropout import Drops, Masks, speed_up_dropout
from loralab.engine.precision import Precision
from loralab.tasks.likelihood import summed_loss
from marks import put
from parts import VARIANTS, asked, build, heading, parts_in, step, within

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
BLOCKS, BLOCK_SIZE = 4, 350
# A piece of work belongs to the outermost of these that it is part of, but dropout to itself wherever it is done; names
# as the profiler gives them.
DROPOUT = "dropout"
WORK = {
    "attention": ("_Attention", "scaled_dot_product", "flash_attention"),
    DROPOUT: ("_Drop", "native_dropout", "bernoulli"),
    "output layer and loss": ("_PiecewiseLoss",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn", "_Adapted"),
    "activation": ("gelu", "Gelu"),
    "normalisation": ("layer_norm", "LayerNorm"),
}
REST = "additions, copies, casts and the rest"
Shares = dict[str, float]  # of a step's time, by kind of work


def main() -> None:
    """Profile, and write the tables."""
    repeats, precision = asked(__doc__, 5)
    parts = parts_in(precision)
    labelled = []
    for method, rate in VARIANTS:
        network = build(method, rate, parts)
        labelled.append(profiled(network, lambda one: step(one, precision), parts, repeats))
    tell(f"where in {precision}", heading("of a step", precision, repeats), labelled)
    language = [profiled(gpt2(rate), lambda one: language_step(one, precision), parts, repeats) for rate in (0.1, 0)]
    told, *_ = heading("of a step", precision, repeats)
    head = [told, "", "| of a step | LoRA-3 | LoRA-3, no dropout |", "| --- | ---: | ---: |"]
    tell(f"where in a language model in {precision}", head, language)


def tell(mark: str, lines: list[str], columns: list[Shares]) -> None:
    """Write a table of what takes any time into the document, and print it."""
    for work in (*WORK, REST):
        if any(column[work] for column in columns):
            lines.append(f"| {work} | {' | '.join(f'{column[work]:.0%}' for column in columns)} |")
    put(DOCUMENT, mark, "\n".join(lines))
    print("\n".join(lines), end="\n\n")


def profiled(network: Any, take_step: Callable[[Any], None], parts: list[str], repeats: int) -> Shares:
    """Return the share of a step's time that each kind of work takes."""
    fuse_activations(network)
    shares: dict[str, list[float]] = defaultdict(list)
    with within(network, parts), marked(Masks, "next"), marked(Drops, "of"):
        take_step(network)  # warms up
        for _ in range(repeats):
            with profile(activities=[ProfilerActivity.CPU]) as found:
                take_step(network)
            for work, share in _shares(found.events()).items():
                shares[work].append(share)
    return {work: median(found) for work, found in shares.items()}


def gpt2(dropout: float) -> Any:
    """Return a language model with LoRA on attention, projection and feed-forward, in training mode."""
    torch.manual_seed(0)
    network = GPT2LMHeadModel(GPT2Config(resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout))
    lora = {"r": 8, "lora_alpha": 16, "lora_dropout": dropout, "fan_in_fan_out": True}
    adapted = get_peft_model(
        network, LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn", "c_proj", "c_fc"], **lora)
    )
    speed_up_dropout(adapted)
    return adapted.train()


def language_step(network: Any, precision: Precision) -> None:
    """Go forward and backward once, through blocks of a language model's text."""
    ids = torch.arange(BLOCKS * (BLOCK_SIZE + 1)).view(BLOCKS, BLOCK_SIZE + 1) % 50_000
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = summed_loss(network, {"input_ids": ids[:, :-1], "labels": ids[:, 1:]})
    torch.autograd.backward(loss)
    network.zero_grad()


def marked(owner: type, name: str) -> AbstractContextManager[object]:
    """Let the profiler tell what a method of dropout's generator does from the work that it is done for."""
    plain = getattr(owner, name)

    def drawn(*given: Any) -> Any:
        with record_function("_Drop"):
            return plain(*given)

    return patch.object(owner, name, drawn)


def _shares(events: Any) -> Shares:
    spent = dict.fromkeys((*WORK, REST), 0.0)
    for event in events:
        spent[_work(event)] += event.self_cpu_time_total
    return {work: one / sum(spent.values()) for work, one in spent.items()}


def _work(event: Any) -> str:
    outermost = REST
    while event is not None:
        outermost = next((work for work, names in WORK.items() if any(name in event.name for name in names)), outermost)
        if outermost == DROPOUT:
            return DROPOUT
        event = event.cpu_parent
    return outermost


if __name__ == "__main__":
    main()
