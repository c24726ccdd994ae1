"""What `run.py` times: the usual way in a process of its own, and a trial as `loralab run` carries it out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asking import PROCESSOR
from loralab import Experiment
from loralab.engine.precision import Precision
from loralab.files import parse_experiment
from loralab.measure import environment
from loralab.places import LocalProcesses
from loralab.plan import choose, final_trials
from loralab.progress import Silent
from loralab.results import Measurement

BATCH_SIZE, MAX_LENGTH, TEST_ROWS = 8, 512, 64
BLOCK_SIZE, BLOCKS, LANGUAGE_STEPS = 350, 14, 5
RATES = {"full": 2e-5, "lora": 3e-4, "head-only": 1e-3}
Row = dict[str, Any]


@dataclass(frozen=True)
class Ground:
    """What all contestants are given."""

    model: Path  # of DistilBERT's size
    model_without_dropout: Path
    data: Path  # labelled texts
    language_model: Path  # of GPT-2's size
    corpus: Path
    rows: int  # of train
    precision: Precision  # of training, for all but the padded peer, which knows float32 alone


def peer(script: Path, ground: Ground, method: str, style: str, *, dropout: bool = True, test: int = TEST_ROWS) -> Row:
    """Run Trainer with PEFT once on labelled texts."""
    command = [
        *(str(script), "--model", str(ground.model if dropout else ground.model_without_dropout)),
        *("--train", str(ground.data / "train.jsonl"), "--test", str(ground.data / "test.jsonl")),
        *("--method", method, "--style", style, "--rows", str(ground.rows), "--test-rows", str(test)),
        *("--batch-size", str(BATCH_SIZE), "--max-length", str(MAX_LENGTH)),
        *([] if dropout else ["--no-dropout"]),
    ]
    found, seconds = _run(_as_asked(ground.precision, command, style))
    return {
        "who": f"Trainer + PEFT, {style}",
        "per_second": found["texts_per_second"],
        "memory": found["peak_rss_bytes"] - found["resident_before"],
        "process": found["peak_rss_bytes"],
        "evaluated_per_second": test / found["eval_seconds"],
        "whole_seconds": seconds,
    }


def language_peer(script: Path, ground: Ground, style: str) -> Row:
    """Run Trainer with PEFT once on a corpus, with LoRA-3."""
    command = [
        *(str(script), "--tokenizer", str(ground.language_model), "--text", str(ground.corpus / "train.txt")),
        *("--method", "lora-3", "--style", style, "--block-size", str(BLOCK_SIZE), "--batch-size", str(BLOCKS)),
        *("--max-steps", str(LANGUAGE_STEPS)),
    ]
    found, _ = _run(_as_asked(ground.precision, command, style))
    return {
        "who": f"Trainer + PEFT, {style}",
        "per_second": found["real_tokens_per_second"],
        "memory": found["peak_rss_bytes"] - found["resident_before"],
        "process": found["peak_rss_bytes"],
    }


def _as_asked(precision: Precision, command: list[str], style: str) -> list[str]:
    """Return the command with bfloat16 off in float32: a processor without it would be a hundred times slower.

    It also tells what was resident when the model was about to be made, as a trial does. What the scripts tell
    themselves is the highest memory until then, tokenising included, which training takes up again.
    """
    return ["-c", _PEER, precision if style == "tuned" else "as it is", *command]


_PEER = """
import json, resource, runpy, sys
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, TrainingArguments

precision = sys.argv[1]
before = []

def noted(make):
    def made(*given, **named):
        with open("/proc/self/statm") as pages:
            before.append(int(pages.read().split()[1]) * resource.getpagesize())
        return make(*given, **named)
    return made

for model in (AutoModelForCausalLM, AutoModelForSequenceClassification):
    model.from_pretrained, model.from_config = noted(model.from_pretrained), noted(model.from_config)
if precision == "float32":
    begin = TrainingArguments.__init__
    TrainingArguments.__init__ = lambda self, *given, **named: begin(self, *given, **named | {"bf16": False})
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps({"resident_before": before[0]}))
"""


def trial(
    ground: Ground, method: str, out: Path, *, dropout: bool = True, epochs: int = 1, scoring: str = "float32"
) -> Row:
    """Carry out a final trial on labelled texts."""
    lora = {"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.1 if dropout else 0.0, "targets": ["attention"]}
    model = ground.model if dropout else ground.model_without_dropout
    task = {"kind": "classification", "data": str(ground.data), "max_length": MAX_LENGTH}
    conditions = {"model": str(model), "task": task, "epochs": epochs, "batch_size": BATCH_SIZE}
    conditions |= {"precision": ground.precision, "scoring": scoring}
    found = _carry_out(conditions, method, lora if method == "lora" else {"kind": method}, out)
    assert found.throughput is not None
    assert found.memory.training is not None
    assert found.memory.resident_before is not None
    return {
        "who": "loralab" if scoring == "float32" else f"loralab, scoring: {scoring}",
        "per_second": found.throughput.texts,
        "memory": found.memory.training,
        "process": found.memory.training + found.memory.resident_before,
        "evaluated_per_second": TEST_ROWS / found.seconds.evaluation,
        "seconds": found.seconds.model_dump(),
        "tokens_per_second": found.throughput.tokens,
        "machine": found.environment.model_dump(),
    }


def language_trial(ground: Ground, out: Path) -> Row:
    """Carry out a final trial of LoRA-3 on a corpus."""
    roles = ["attention", "projection", "feed-forward"]
    lora = {"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.1, "targets": roles}
    data = {"source": str(ground.corpus), "rows": {"validation": 1, "test": 2}}
    task = {"kind": "causal-lm", "data": data, "block_size": BLOCK_SIZE}
    conditions = {"model": str(ground.language_model), "task": task, "steps": LANGUAGE_STEPS, "batch_size": BLOCKS}
    conditions["precision"] = ground.precision
    found = _carry_out(conditions, "lora", lora, out)
    assert found.throughput is not None
    assert found.memory.training is not None
    assert found.memory.resident_before is not None
    return {
        "who": "loralab",
        "per_second": found.throughput.tokens,
        "memory": found.memory.training,
        "process": found.memory.training + found.memory.resident_before,
        "machine": found.environment.model_dump(),
    }


def comparison(ground: Ground, out: Path) -> Row:
    """Run a whole tuned comparison from the command line: full and LoRA, three rates each, three seeds."""
    arms = {
        "full": {"method": {"kind": "full"}, "learning_rates": [1e-5, 2e-5, 5e-5]},
        "lora": {
            "method": {"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.1, "targets": ["attention"]},
            "learning_rates": [1e-4, 3e-4, 1e-3],
        },
    }
    task = {"kind": "classification", "data": str(ground.data), "max_length": MAX_LENGTH}
    conditions = {"model": str(ground.model), "task": task, "epochs": 1, "batch_size": BATCH_SIZE}
    conditions["precision"] = ground.precision
    raw = {"baseline": "full", "seeds": 3, "conditions": conditions, "arms": arms}
    file = out.with_suffix(".yaml")
    file.write_text(json.dumps(raw), encoding="utf-8")  # JSON is YAML
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "loralab", "run", str(file), "--out", str(out)], check=True)
    seconds = time.perf_counter() - begun
    return {
        "who": "loralab",
        "whole_seconds": seconds,
        "machine": environment(PROCESSOR, ground.precision).model_dump(),
    }


def _carry_out(conditions: Row, arm: str, method: Row, out: Path) -> Measurement:
    experiment = _experiment(conditions, arm, method)
    last = final_trials(experiment, choose(experiment, {}), experiment.seeds)[-1]
    (result,) = LocalProcesses().run([last], out, Silent())
    if not isinstance(result, Measurement):
        raise SystemExit(result.message)
    return result


def _experiment(conditions: Row, arm: str, method: Row) -> Experiment:
    """Return an experiment of one arm, one rate and one seed."""
    arms = {arm: {"method": method, "learning_rates": [RATES[arm]]}}
    raw = {"baseline": arm, "seeds": [42], "conditions": conditions, "arms": arms}
    return parse_experiment(raw, "benchmark")


def _run(arguments: list[str]) -> tuple[Row, float]:
    """Run a peer; return the JSON objects of its last two lines in one, and the seconds of the whole."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    its_own, ours = map(json.loads, done.stdout.splitlines()[-2:])
    return {**its_own, **ours}, time.perf_counter() - begun
