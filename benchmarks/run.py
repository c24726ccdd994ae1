"""Speed and memory of loralab beside Trainer with PEFT: one model, the same rows and steps, one run on one machine.

    python benchmarks/run.py --peer PATH/trainer_peft.py --data DIR

DIR holds labelled texts as `train.jsonl` and `test.jsonl`, such as IMDb. The model has DistilBERT-base's
size and random weights: speed and memory don't depend on what the weights are. Peers and loralab take turns, so that a
machine whose speed drifts favours nobody; every figure is the median of `--repeats`. Writes `benchmarks/results.json`
and the table in `benchmarks/README.md`. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from loralab import Experiment
from loralab.files import parse_experiment
from loralab.places import LocalProcesses
from loralab.plan import choose, final_trials
from loralab.pretrained import load_tokenizer
from loralab.progress import Silent
from loralab.results import Measurement
from marks import put

HERE = Path(__file__).parent
BATCH_SIZE, MAX_LENGTH, TEST_ROWS = 8, 512, 64
RATES = {"full": 2e-5, "lora": 3e-4}
Row = dict[str, Any]


def main() -> None:
    """Run peers and loralab in turn, and write the outcome down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="trainer_peft.py")
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.jsonl and test.jsonl")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        model, data = make_model(Path(scratch) / "model"), copy_rows(given.data, Path(scratch) / "data", given.rows)
        for repeat in range(given.repeats):
            for method in RATES:
                for style in ("padded", "tuned"):
                    rows.append({"repeat": repeat, **run_peer(given.peer, model, data, method, style, given.rows)})
                    print(rows[-1], flush=True)
                rows.append({"repeat": repeat, **run_loralab(model, data, method, Path(scratch) / f"out-{repeat}")})
                print(rows[-1], flush=True)
    (HERE / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    write_table(rows, given)


def make_model(folder: Path) -> Path:
    """Save a model of DistilBERT-base's size with random weights, and BERT's uncased tokenizer."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    tokenizer = load_tokenizer("package:all-MiniLM-L6-v2")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer))).save_pretrained(folder)
    return folder


def copy_rows(source: Path, folder: Path, rows: int) -> Path:
    """Copy the rows that all contestants get: evenly from the whole files, line breaks cleaned as the peer does."""
    folder.mkdir()
    for split, count in (("train", rows), ("test", TEST_ROWS)):
        lines = (source / f"{split}.jsonl").read_bytes().rstrip(b"\n").split(b"\n")
        records = [json.loads(lines[i * len(lines) // count]) for i in range(count)]
        kept = [{"text": r["text"].replace("<br /><br />", "\n"), "label": r["label"]} for r in records]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
    (folder / "validation.jsonl").write_bytes((folder / "test.jsonl").read_bytes())
    return folder


def run_peer(script: Path, model: Path, data: Path, method: str, style: str, rows: int) -> Row:
    """Run the usual way once, in a process of its own."""
    command = [
        *(sys.executable, str(script), "--model", str(model)),
        *("--train", str(data / "train.jsonl"), "--test", str(data / "test.jsonl")),
        *("--method", method, "--style", style, "--rows", str(rows), "--test-rows", str(TEST_ROWS)),
        *("--batch-size", str(BATCH_SIZE), "--max-length", str(MAX_LENGTH)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "who": f"Trainer + PEFT, {style}",
        "method": method,
        "steps": found["steps"],
        "texts_per_second": found["texts_per_second"],
        "training_memory": found["peak_rss_bytes"] - found["resident_before_model_bytes"],
        "evaluated_per_second": TEST_ROWS / found["eval_seconds"],
    }


def run_loralab(model: Path, data: Path, method: str, out: Path) -> Row:
    """Carry out one final trial, as `loralab run` does."""
    experiment = make_experiment(model, data, method)
    _, trial = final_trials(experiment, choose(experiment, {}), experiment.seeds)
    (result,) = LocalProcesses().run([trial], out, Silent())
    if not isinstance(result, Measurement):
        raise SystemExit(result.message)
    assert result.throughput is not None
    return {
        "who": "loralab",
        "method": method,
        "steps": result.sameness.steps,
        "texts_per_second": result.throughput.texts,
        "training_memory": result.memory.training,
        "evaluated_per_second": TEST_ROWS / result.seconds.evaluation,
        "machine": result.environment.model_dump(),
    }


def make_experiment(model: Path, data: Path, method: str) -> Experiment:
    """Return the peer's settings as an experiment of one arm and one seed."""
    lora = {"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.1, "targets": ["attention"]}
    arm = {"method": {"kind": "full"} if method == "full" else lora, "learning_rates": [RATES[method]]}
    task = {"kind": "classification", "data": str(data), "max_length": MAX_LENGTH}
    conditions = {"model": str(model), "task": task, "epochs": 1, "batch_size": BATCH_SIZE}
    raw = {"baseline": method, "seeds": [42], "conditions": conditions, "arms": {method: arm}}
    return parse_experiment(raw, "benchmark")


def write_table(rows: list[Row], given: argparse.Namespace) -> None:
    """Replace the table in README.md."""
    machine = next(row["machine"] for row in rows if "machine" in row)
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("torch", "transformers", "peft"))
    lines = [
        f"{machine['device_name']}, {machine['threads']} threads, {versions}; {given.rows} texts of up to {MAX_LENGTH} "
        f"tokens, batch {BATCH_SIZE}, one epoch, dropout as configured; median of {given.repeats}.",
        "",
        "| | method | steps | training, texts/s | against padded | against tuned | peak memory, training | "
        "evaluation, texts/s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method in RATES:
        of_method = {who: [r for r in rows if (r["who"], r["method"]) == (who, method)] for who in _contestants(rows)}
        speeds = {who: median(r["texts_per_second"] for r in found) for who, found in of_method.items()}
        for who, found in of_method.items():
            ratios = [f"{speeds[who] / speeds[f'Trainer + PEFT, {style}']:.2f}×" for style in ("padded", "tuned")]
            memory = median(r["training_memory"] for r in found) / 1e9
            evaluated = median(r["evaluated_per_second"] for r in found)
            lines.append(
                f"| {who} | {method} | {found[0]['steps']} | {speeds[who]:.2f} | {ratios[0]} | {ratios[1]} | "
                f"{memory:.2f} GB | {evaluated:.1f} |"
            )
    put(HERE / "README.md", "table", "\n".join(lines))


def _contestants(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["who"] for row in rows))


if __name__ == "__main__":
    main()
