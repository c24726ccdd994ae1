"""Toy documents, a tokenizer of single bytes and tiny language models, made in the test run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conftest import FILLERS, WORDS, save_tokenizer, write_jsonl
from loralab.data import Documents
from loralab.tasks import CausalLM
from loralab.tasks.examples import NOWHERE, Stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END = "<|endoftext|>"


def documents(*texts: str) -> Documents:
    return Documents(tuple(f"test/{number}" for number in range(len(texts))), texts)


# Of one token, of a window's size and one more or less, of several windows; letters of several bytes.
TEXTS = documents(
    "The cat saw the dog near the river.",
    "x",
    "naïve café, 中文 😀",
    "exactly fifteen",
    "exactly sixteen.",
    "one more: sixteen",
    "A longer text, which takes several windows of sixteen tokens; the last of them is moved back so that it is full.",
)


def language_task(**changes: Any) -> CausalLM:
    return CausalLM.model_validate({"data": "nothing is read", "block_size": 16, **changes})


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer without merges, written like GPT-2's: every byte of UTF-8 is a token, the end-of-text token is 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([END, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def save_byte_model(folder: Path, architecture: str) -> Path:
    """Save a language model of bytes with 64 positions, and its tokenizer."""
    from architectures import save_language_model

    byte_tokenizer().save_pretrained(folder)
    return save_language_model(folder, architecture, vocab_size=257, eos_token_id=0)


def stream_of(lengths: Sequence[int]) -> Stream:
    """Documents of so many tokens, each token the only one of its number."""
    owners = [NOWHERE]
    for number, length in enumerate(lengths):
        owners += [number] * length + [NOWHERE]
    names = tuple(map(str, range(len(lengths))))
    numbers = np.arange(len(owners), dtype=np.int32)
    return Stream(numbers, np.array(owners, dtype=np.int32), names, tuple(lengths), start=None)


def save_gpt2(folder: Path, **settings: Any) -> Path:
    """Save a tied GPT-2 of two small layers that reads words, with dropout off, and its tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    size = save_tokenizer(folder, decoder=True)
    small = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.2}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    special = {"vocab_size": size, "bos_token_id": 3, "eos_token_id": 3}
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**small | dropout | special | settings)).save_pretrained(folder)
    return folder


def stories(topics: Sequence[str], count: int, seed: int, longest: int = 60) -> list[dict[str, str]]:
    """Documents in which words of one topic follow one another; some have letters that take several bytes."""
    source = random.Random(seed)
    rows = []
    for number in range(count):
        words = WORDS[topics[number % len(topics)]]
        told = [source.choice(words if place % 2 else FILLERS) for place in range(source.randint(4, longest))]
        rows.append({"text": " ".join([*told, "café", "était", "là"] if number % 3 == 0 else told)})
    return rows


def write_corpus(folder: Path, topics: Sequence[str], longest: int = 60) -> Path:
    write_jsonl(folder / "train.jsonl", stories(topics, 40, 1, longest))
    write_jsonl(folder / "validation.jsonl", stories(topics, 8, 2, longest))
    write_jsonl(folder / "test.jsonl", stories(topics, 12, 3, longest))
    return folder
