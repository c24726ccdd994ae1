"""Speed and memory of loralab beside Trainer with PEFT: one model, the same rows and steps, one run on one machine.

    python benchmarks/run.py --peers PATH --data DIR --corpus DIR --tokenizer DIR [PART ...]

PATH holds `trainer_peft.py` and `trainer_peft_lm.py`; `--data` labelled texts as train.jsonl and test.jsonl, such as
IMDb; `--corpus` train.txt, validation.txt and test.txt; `--tokenizer` a language model's tokenizer. Models have the
sizes of DistilBERT-base and GPT-2 and random weights: speed and memory don't depend on what the weights are. Within a
part peers and loralab take turns, so that a machine whose speed drifts favours nobody; every figure is the median of
`--repeats`, but for `memory` and `whole`, which are taken once. Parts that are named replace theirs in
`benchmarks/results.json`, from which the table in `benchmarks/README.md` is written; without a name, all run. bfloat16,
where the processor multiplies it and nobody asks for float32, and float32 have figures of their own. Run nothing beside
it, but for `memory`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import gpt2
from asking import command_line, precision_of
from contestants import TEST_ROWS, Ground, Row, comparison, language_peer, language_trial, peer, trial
from loralab.pretrained import load_tokenizer
from peak import matrix_peak, useful
from table import write_table

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
LATER = 200  # epochs of the head alone after the first: each takes so little that few would drown in noise
WHOLE_ROWS = 200  # of train, in the comparison of whole comparisons; half as many of test


def main() -> None:
    """Run the parts, and write the outcome down."""
    parser = command_line(__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=120)  # of fewer, Trainer groups hardly any by length
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in given.parts or PARTS:
        with tempfile.TemporaryDirectory() as scratch:
            rows = []
            for row in PARTS[name](given, Path(scratch)):
                print(name, row, flush=True)
                rows.append(row)
        texts = WHOLE_ROWS if name == "whole" else given.rows
        repeats = 1 if name in ("memory", "whole") else given.repeats
        stored.setdefault(precision_of(given), {})[name] = {"rows": texts, "repeats": repeats, "results": rows}
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    write_table(HERE / "README.md", stored)


def classification(given: argparse.Namespace, scratch: Path, *, dropout: bool = True) -> Iterator[Row]:
    """Full and LoRA on labelled texts, padded, tuned and ours; the floating-point work of ours beside the peak."""
    ground = prepare(given, scratch, given.rows)
    script = given.peers / "trainer_peft.py"
    for repeat in range(given.repeats):
        for method in ("full", "lora"):
            for style in ("padded", "tuned") if dropout else ("tuned",):
                yield {"method": method, **peer(script, ground, method, style, dropout=dropout)}
            ours = trial(ground, method, scratch / f"{method}-{repeat}", dropout=dropout)
            yield {
                "method": method,
                **ours,
                "peak": matrix_peak(ground.precision),
                "useful": useful(ground, method, ours),
            }
            if dropout and ground.precision == "bfloat16":
                out = scratch / f"{method}-{repeat}-bfloat16"
                yield {"method": method, **trial(ground, method, out, scoring="bfloat16")}


def without_dropout(given: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """The same with all dropout off."""
    return classification(given, scratch, dropout=False)


def memory(given: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """Peaks of training, once: they hardly move, and other work beside them does no harm."""
    ground = prepare(given, scratch, given.rows)
    for dropout in (True, False):
        for method in ("full", "lora"):
            told = method if dropout else f"{method}, no dropout"
            for style in ("padded", "tuned"):
                script = given.peers / "trainer_peft.py"
                yield {"method": told, **peer(script, ground, method, style, dropout=dropout)}
            yield {"method": told, **trial(ground, method, scratch / told, dropout=dropout)}
    yield {"method": "lora-3", **language_peer(given.peers / "trainer_peft_lm.py", ground, "tuned")}
    yield {"method": "lora-3", **language_trial(ground, scratch / "lora-3")}


def head_only(given: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """The head alone: its first epoch, and those after it. The peer has no such method; its LoRA stands in."""
    ground = prepare(given, scratch, given.rows)
    validation = ground.data / "validation.jsonl"  # scored after every epoch, and none of what is asked here
    validation.write_text(validation.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    for repeat in range(given.repeats):
        yield {"method": "lora", **peer(given.peers / "trainer_peft.py", ground, "lora", "tuned")}
        first = trial(ground, "head-only", scratch / f"first-{repeat}")
        two, more = (
            trial(ground, "head-only", scratch / f"{epochs}-{repeat}", epochs=epochs) for epochs in (2, 2 + LATER)
        )
        later = (more["seconds"]["training"] - two["seconds"]["training"]) / LATER
        yield {"method": "head-only", **first, "later_per_second": given.rows / later}


def language(given: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """LoRA-3 on a language model."""
    ground = prepare(given, scratch, given.rows)
    for repeat in range(given.repeats):
        yield {"method": "lora-3", **language_peer(given.peers / "trainer_peft_lm.py", ground, "tuned")}
        yield {"method": "lora-3", **language_trial(ground, scratch / f"lora-3-{repeat}")}


def whole(given: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    """A tuned comparison as a whole, beside the two untuned runs of the usual notebook; once."""
    ground = prepare(given, scratch, WHOLE_ROWS, WHOLE_ROWS // 2)
    for method in ("full", "lora"):
        script = given.peers / "trainer_peft.py"
        yield {"method": method, **peer(script, ground, method, "padded", test=WHOLE_ROWS // 2)}
    yield comparison(ground, scratch / "comparison")


PARTS: dict[str, Callable[[argparse.Namespace, Path], Iterator[Row]]] = {
    "classification": classification,
    "without-dropout": without_dropout,
    "memory": memory,
    "head-only": head_only,
    "language": language,
    "whole": whole,
}


def prepare(given: argparse.Namespace, scratch: Path, rows: int, test: int = TEST_ROWS) -> Ground:
    """Build the models and copy the rows."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    tokenizer = load_tokenizer("package:all-MiniLM-L6-v2")
    for name, rate in (("model", 0.1), ("model-without-dropout", 0.0)):
        rates = {"dropout": rate, "attention_dropout": rate, "seq_classif_dropout": 2 * rate}  # DistilBERT's own
        torch.manual_seed(0)
        DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **rates)).save_pretrained(scratch / name)
        tokenizer.save_pretrained(scratch / name)
    gpt2.build(scratch / "gpt2", given.tokenizer)
    return Ground(
        model=scratch / "model",
        model_without_dropout=scratch / "model-without-dropout",
        data=copy_rows(given.data, scratch / "data", rows, test),
        language_model=scratch / "gpt2",
        corpus=given.corpus,
        rows=rows,
        precision=precision_of(given),
    )


def copy_rows(source: Path, folder: Path, rows: int, test: int) -> Path:
    """Copy the rows that all contestants get: evenly from the whole files, line breaks cleaned as the peer does."""
    folder.mkdir()
    for split, count in (("train", rows), ("test", test)):
        lines = (source / f"{split}.jsonl").read_bytes().rstrip(b"\n").split(b"\n")
        records = [json.loads(lines[i * len(lines) // count]) for i in range(count)]
        kept = [{"text": r["text"].replace("<br /><br />", "\n"), "label": r["label"]} for r in records]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
    (folder / "validation.jsonl").write_bytes((folder / "test.jsonl").read_bytes())
    return folder


if __name__ == "__main__":
    main()
