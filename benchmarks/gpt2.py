"""Two optimizer steps of the recipe wikitext2-gpt2 at its real sizes: time and memory of full and LoRA-1 to LoRA-4.

    python benchmarks/gpt2.py --tokenizer DIR --data DIR --out DIR

GPT-2 of 124M parameters is built from its configuration, with random weights: they change neither time nor memory, and
scores mean nothing. `--tokenizer` is any folder with one, `--data` one with train.txt, validation.txt and test.txt. The
arms are trials like any other, in fresh processes; `--out` is a results folder, so that the script goes on where it
was stopped. The table is written into docs/results/wikitext2-gpt2-mini.md, after its mark.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from loralab import Comparison, Experiment, read_experiment, run
from loralab.report import numbers
from marks import put

DOCUMENT = Path(__file__).parent.parent / "docs" / "results" / "wikitext2-gpt2-mini.md"
STEPS = 2


def main() -> None:
    """Take the steps, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = given.out / "gpt2"
    if not (model / "config.json").exists():
        build(model, given.tokenizer)
    text = table(run(experiment(model, given.data), given.out / "run"))
    put(DOCUMENT, "gpt2", text)
    print(text)


def build(folder: Path, tokenizer: Path) -> None:
    """Save a GPT-2 of 124M random weights, with the tokenizer."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)
    # Whatever model it was made for, this one reads 1,024 tokens.
    AutoTokenizer.from_pretrained(tokenizer, model_max_length=GPT2Config().n_positions).save_pretrained(folder)


def experiment(model: Path, data: Path) -> Experiment:
    """Return the recipe, cut down to two steps of one seed and one learning rate an arm, and to little scoring."""
    recipe = read_experiment("wikitext2-gpt2")
    changes = {
        "seeds": 1,
        "conditions.model": str(model),
        "conditions.epochs": None,
        "conditions.steps": STEPS,
        "conditions.task.data": {"source": str(data), "rows": {"validation": 1, "test": 1}},
        "conditions.task.evaluate": {},
        **{f"arms.{name}.learning_rates": arm.learning_rates[:1] for name, arm in recipe.arms.items()},
    }
    return read_experiment("wikitext2-gpt2", changes)


def table(comparison: Comparison) -> str:
    """One row an arm."""
    lines = [
        "| arm | trained | seconds a step | tokens a second | peak memory of training |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, arm in comparison.arms.items():
        if not arm.measurements:
            lines.append(f"| {name} | | | | {arm.failures[0].reason} |")
            continue
        (found,) = arm.measurements.values()
        assert found.throughput is not None
        memory = numbers.UNKNOWN if found.memory.training is None else numbers.size(found.memory.training)
        lines.append(
            f"| {name} | {found.parameters.trainable:,} | {1 / found.throughput.steps:.0f} | "
            f"{found.throughput.tokens:,.0f} | {memory} |"
        )
    machine = comparison.measurements[0].environment
    return "\n".join([*lines, "", f"{machine.device_name}, {machine.threads} threads, {machine.precision}."])


if __name__ == "__main__":
    main()
