"""Toy data and models, made in the test run: no network, no GPU, seconds."""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before torch is imported, here and in every process a test starts: toy models are faster on one thread.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from loralab.experiment import Experiment
from loralab.files import parse_experiment

WORDS = {
    "animal": ["cat", "dog", "horse", "sparrow", "whale"],
    "colour": ["red", "green", "blue", "yellow", "purple"],
    "number": ["one", "two", "seven", "eleven", "dozen"],
    "place": ["river", "mountain", "city", "harbour", "village"],
    "time": ["monday", "winter", "noon", "century", "minute"],
    "weather": ["rain", "snow", "storm", "fog", "sunshine"],
}
FILLERS = ["the", "of", "near", "with", "and", "about", "was", "seen", "told", "some", "once", "again", "there"]


def sentences(labels: list[str], count: int, seed: int) -> list[dict[str, str]]:
    """Rows whose label can be told from half of their words."""
    source = random.Random(seed)
    rows = []
    for position in range(count):
        label = labels[position % len(labels)]
        words = [
            source.choice(WORDS[label] if source.random() < 0.5 else FILLERS) for _ in range(source.randint(3, 18))
        ]
        rows.append({"text": " ".join(words), "label": label})
    return rows


def write_jsonl(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_data(folder: Path, labels: list[str]) -> Path:
    write_jsonl(folder / "train.jsonl", sentences(labels, 240, seed=1))
    write_jsonl(folder / "validation.jsonl", sentences(labels, 36, seed=2))
    write_jsonl(folder / "test.jsonl", sentences(labels, 60, seed=3))
    return folder


def save_tokenizer(folder: Path, *, decoder: bool = False) -> int:
    """Save a word-level tokenizer into `folder`; return the size of its vocabulary.

    A decoder's adds nothing to a text and has an end-of-text token, but none for padding, like GPT-2's.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *FILLERS, *(word for group in WORDS.values() for word in group)]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]", "eos_token": "[SEP]"}
    if not decoder:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special).save_pretrained(folder)
    return len(words)


def save_model(folder: Path, **settings: Any) -> Path:
    """Save a DistilBERT of two small layers, without a head, as a base checkpoint is."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    size = save_tokenizer(folder)
    torch.manual_seed(0)
    small = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64}
    # Wide enough to learn from a few steps, and for a bare head to tell labels apart.
    small |= {"initializer_range": 0.2, "dropout": 0.0} | settings
    DistilBertModel(DistilBertConfig(vocab_size=size, **small)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("toy-model"))


@pytest.fixture(scope="session")
def toy_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied language model of words."""
    from toy_language import save_gpt2

    return save_gpt2(tmp_path_factory.mktemp("toy-gpt2"))


@pytest.fixture(scope="session")
def byte_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Language models of bytes, by architecture."""
    from toy_language import save_byte_model

    return {name: save_byte_model(tmp_path_factory.mktemp(name), name) for name in ("gpt2", "llama")}


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labels."""
    return write_data(tmp_path_factory.mktemp("six-labels"), list(WORDS))


@pytest.fixture(scope="session")
def two_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labels."""
    return write_data(tmp_path_factory.mktemp("two-labels"), ["animal", "place"])


def toy_file(model: Path, data: Path, **changes: Any) -> dict[str, Any]:
    """The content of a small experiment file."""
    return {
        "baseline": "full",
        "seeds": [0, 1],
        "margin": {"accuracy": 0.2},
        "conditions": {
            "model": str(model),
            "task": {"kind": "classification", "data": str(data), "max_length": 16},
            "epochs": 2,
            "batch_size": 8,
            "precision": "float32",
        },
        "arms": {
            "full": {"method": {"kind": "full"}, "learning_rates": [3e-3, 1e-2]},
            "lora": {"method": {"kind": "lora", "rank": 4, "alpha": 8}, "learning_rates": [1e-2, 3e-2]},
            "head-only": {"method": {"kind": "head-only"}, "learning_rates": [1e-2, 3e-2]},
        },
        **changes,
    }


@pytest.fixture(scope="session")
def toy_experiment(toy_model: Path, toy_data: Path) -> Experiment:
    return parse_experiment(toy_file(toy_model, toy_data), "toy.yaml")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_experiment: Experiment) -> Path:
    """The results folder of the toy experiment, carried out in fresh processes."""
    from loralab import api

    folder = tmp_path_factory.mktemp("finished")
    api.run(toy_experiment, folder)
    return folder


def language_file(model: Path, corpus: Path, elsewhere: Path) -> dict[str, Any]:
    """The content of a small experiment file with a language model; `elsewhere` is one set to score on besides."""
    passages = {"source": str(elsewhere), "last_word": True, "rows": 6}
    return {
        "baseline": "full",
        "seeds": [0, 1],
        "margin": {"log_perplexity": 0.1},
        "conditions": {
            "model": str(model),
            "task": {
                "kind": "causal-lm",
                "data": str(corpus),
                "block_size": 32,
                "evaluate": {"elsewhere": str(elsewhere), "passages": passages},
            },
            "epochs": 3,
            "batch_size": 2,
            "accumulation": 2,
            "precision": "float32",
        },
        "arms": {
            "full": {"method": {"kind": "full"}, "learning_rates": [3e-3]},
            "lora": {
                "method": {"kind": "lora", "rank": 4, "alpha": 8, "targets": ["attention", "output"]},
                "learning_rates": [1e-2],
            },
        },
    }


@pytest.fixture(scope="session")
def language(tmp_path_factory: pytest.TempPathFactory, toy_gpt2: Path) -> dict[str, Any]:
    """An experiment file with a language model: two topics are learnt, documents of two others come from elsewhere."""
    from toy_language import write_corpus

    corpus = write_corpus(tmp_path_factory.mktemp("corpus"), ["animal", "place"])
    elsewhere = write_corpus(tmp_path_factory.mktemp("elsewhere"), ["colour", "time"], longest=20)
    return language_file(toy_gpt2, corpus, elsewhere)


@pytest.fixture(scope="session")
def finished_language(tmp_path_factory: pytest.TempPathFactory, language: dict[str, Any]) -> Path:
    """The results folder of that experiment, carried out in fresh processes."""
    from loralab import api

    folder = tmp_path_factory.mktemp("finished-language")
    api.run(parse_experiment(language, "language.yaml"), folder)
    return folder


@pytest.fixture
def accelerate_anew() -> Iterator[None]:
    """Accelerate keeps a process's first precision; trials have processes of their own, tests share one."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


MakeExperiment = Callable[..., Experiment]


@pytest.fixture(scope="session")
def make_experiment(toy_model: Path, toy_data: Path) -> MakeExperiment:
    """Makes toy experiments with other settings."""

    def make(**changes: Any) -> Experiment:
        return parse_experiment(toy_file(toy_model, toy_data, **changes), "toy.yaml")

    return make


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `loralab WORDS` says on standard error when it exits with status 2."""
    from loralab.cli import main

    monkeypatch.setattr(sys, "argv", ["loralab", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    return capsys.readouterr().err
