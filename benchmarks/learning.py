"""Whether the engine learns what Trainer with PEFT learns: one model, the same rows, epochs, rates and seeds.

    python benchmarks/learning.py --data DIR --out DIR

MiniLM's real weights on labelled texts such as IMDb, dropout as the checkpoint has it. Trainer computes in float32 with
torch's dropout and batches of like length; loralab's trials are those of `loralab run`, with `precision: auto` unless
one is named. `--out` keeps what is finished, so that the script goes on where it was stopped. The table is written into
docs/engine.md, where each precision has its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import set_seed
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments

from asking import command_line, machine_here, precision_of
from loralab import Experiment, run
from loralab.engine.precision import Precision
from loralab.files import parse_experiment
from loralab.pretrained import load_tokenizer, locate
from loralab.results import Measurement
from loralab.statistics.estimate import crossed
from loralab.statistics.ratios import geometric
from loralab.statistics.resampling import DRAWS, resample
from loralab.tasks.items import LabelScores
from marks import put

DOCUMENT = Path(__file__).parent.parent / "docs" / "engine.md"
MODEL = "package:all-MiniLM-L6-v2"
ROWS = {"train": 500, "validation": 200, "test": 1000}
RATES = {"full": 1e-4, "lora": 2e-3}
EPOCHS, BATCH_SIZE, MAX_LENGTH, RANK = 2, 16, 64, 8


def main() -> None:
    """Train both ways, and write the table."""
    given = asked(__doc__)
    precision = precision_of(given)
    compared = experiment(given.data, given.seeds, precision)
    by_arm = {name: arm.measurements for name, arm in run(compared, given.out / "loralab").arms.items()}
    lines = [
        "| | accuracy, Trainer | accuracy, loralab | difference, points | validation loss, loralab to Trainer |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for method, found in by_arm.items():
        usual = [trained_as_usual(compared, method, seed, given.out) for seed in found]
        lines.append(f"| {method} | {' | '.join(cells(list(found.values()), usual))} |")
    tell("learning", precision, given.seeds, lines)


def asked(description: str | None) -> argparse.Namespace:
    """Return what the command line gives: the data, where what is finished is kept, how many seeds, the format."""
    parser = command_line(description)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


def tell(mark: str, precision: Precision, seeds: int, table: list[str]) -> None:
    """Write the table where `mark` stands for this precision, under the machine, and print it."""
    text = "\n".join([f"{machine_here(precision)}; {seeds} seeds.", "", *table])
    put(DOCUMENT, f"{mark} in {precision}", text)
    print(text)


def experiment(data: Path, seeds: int, precision: Precision) -> Experiment:
    """Return full fine-tuning and LoRA, each at one rate."""
    lora = {"kind": "lora", "rank": RANK, "alpha": 2 * RANK, "dropout": 0.1, "targets": ["attention"]}
    methods: dict[str, dict[str, Any]] = {"full": {"kind": "full"}, "lora": lora}
    task = {"kind": "classification", "data": {"source": str(data), "rows": ROWS}, "max_length": MAX_LENGTH}
    conditions = {"model": MODEL, "task": task, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "precision": precision}
    raw = {
        "baseline": "full",
        "seeds": seeds,
        "conditions": conditions,
        "arms": {name: {"method": method, "learning_rates": [RATES[name]]} for name, method in methods.items()},
    }
    return parse_experiment(raw, "learning")


def trained_as_usual(compared: Experiment, method: str, seed: int, out: Path) -> dict[str, Any]:
    """Return what Trainer comes to: the validation loss, and which test texts it gets right."""
    kept = out / f"trainer-{method}-{seed}.json"
    if not kept.exists():
        found = _train(compared, method, seed)
        kept.write_text(json.dumps(found), encoding="utf-8")
    return dict(json.loads(kept.read_text(encoding="utf-8")))


def _train(compared: Experiment, method: str, seed: int) -> dict[str, Any]:
    conditions = compared.conditions
    data: Any = conditions.task.read()
    tokenizer = load_tokenizer(MODEL)
    splits = {
        name: Dataset.from_dict(
            {**tokenizer(list(rows.texts), truncation=True, max_length=MAX_LENGTH), "labels": list(rows.labels)}
        )
        for name, rows in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    set_seed(seed)
    model: Any = AutoModelForSequenceClassification.from_pretrained(locate(MODEL), num_labels=2)
    if method == "lora":
        targets = ["query", "value"]
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.1, target_modules=targets, task_type="SEQ_CLS")
        model = get_peft_model(model, config)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=4 * BATCH_SIZE,
            learning_rate=RATES[method],
            weight_decay=conditions.weight_decay,
            warmup_steps=conditions.warmup,  # a share of the steps, where it is below one
            train_sampling_strategy="group_by_length",
            use_cpu=True,
            seed=seed,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        collate = DataCollatorWithPadding(tokenizer)
        trainer = Trainer(model=model, args=arguments, train_dataset=splits["train"], data_collator=collate)
        trainer.train()
        # Else it groups what it scores by length, too, and gives the predictions in that order.
        trainer.args.train_sampling_strategy = "random"
        loss = trainer.evaluate(splits["validation"])["eval_loss"]
        predictions = trainer.predict(splits["test"]).predictions.argmax(axis=-1)
    return {"loss": loss, "right": (predictions == np.asarray(data.test.labels)).tolist()}


def cells(ours: list[Measurement], usual: list[dict[str, Any]]) -> list[str]:
    """Return accuracies, their difference over seeds and texts, and the losses' ratio, with 95 % intervals."""
    right = np.array([_right(one) for one in ours], dtype=np.float64)  # (seeds, texts)
    right_as_usual = np.array([one["right"] for one in usual], dtype=np.float64)
    apart = right - right_as_usual
    drawn = resample(apart.T[:, :, None].astype(np.float32), lambda means: means[..., 0], DRAWS)
    difference = crossed(apart.mean(axis=1), drawn, apart.shape[1])
    low, high = difference.interval()
    return [
        f"{right_as_usual.mean():.1%}",
        f"{right.mean():.1%}",
        f"{100 * difference.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        ratio_of([validation_loss(one) for one in ours], [other["loss"] for other in usual]),
    ]


def ratio_of(losses: list[float], others: list[float]) -> str:
    """Return how many times the others the losses are, in the geometric mean over seeds, with its 95 % interval."""
    ratio = geometric([one / other for one, other in zip(losses, others, strict=True)])
    assert ratio.interval is not None
    return f"{ratio.value:.3f} ({ratio.interval[0]:.3f} to {ratio.interval[1]:.3f})"


def _right(measurement: Measurement) -> list[bool]:
    items = measurement.items
    assert isinstance(items, LabelScores)
    return [label == found for label, found in zip(items.labels, items.predictions, strict=True)]


def validation_loss(measurement: Measurement) -> float:
    """Return the loss after the last step, in nats a text."""
    metric = measurement.trial.conditions.task.tuning_metric
    return next(point.validation[metric] for point in reversed(measurement.curve) if point.validation)


if __name__ == "__main__":
    main()
