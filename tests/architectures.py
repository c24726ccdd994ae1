"""A tiny model of every architecture, made from its configuration, and the way of a method through it."""

from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch

from conftest import save_tokenizer, sentences
from loralab.data.rows import LabelledData, Rows
from loralab.methods import Method
from loralab.pretrained import Loaded, load_model, load_tokenizer
from loralab.tasks.classification import Classification

LABELS = ("animal", "place", "time")
_NO_ROWS = Rows((), (), ())
DATA = LabelledData(_NO_ROWS, _NO_ROWS, _NO_ROWS, LABELS)  # all that loading asks of it
TASK = Classification.model_validate({"data": "nothing is read", "max_length": 60})

_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_WIDE = {"initializer_range": 0.3}  # so that the logits depend on the text
_ENCODER = _SMALL | _WIDE | {"max_position_embeddings": 64, "pad_token_id": 0}
_DECODER = _SMALL | _WIDE | {"max_position_embeddings": 64}
_GROUPED = _DECODER | {"num_key_value_heads": 1, "head_dim": 8}

ENCODERS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
    "camembert": _ENCODER,
    "distilbert": _WIDE | {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64},
    "electra": _ENCODER | {"embedding_size": 8},
    "deberta": _ENCODER | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": _ENCODER
    | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "share_att_key": True, "position_buckets": 8},
    "albert": _ENCODER | {"embedding_size": 8},
    "mpnet": _ENCODER,
    "modernbert": _ENCODER
    | {"local_attention": 16, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": None, "eos_token_id": None},
}
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": _WIDE | {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": _GROUPED,
    "mistral": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": _GROUPED,
    "gemma": _GROUPED,
    "gemma2": _GROUPED | {"query_pre_attn_scalar": 8},  # caps its scores: attention stays its own
    "gemma3_text": _GROUPED | {"query_pre_attn_scalar": 8},
    "olmo2": _GROUPED,
    "smollm3": _GROUPED | {"pad_token_id": None},
    "phi": _DECODER,
    "phi3": _DECODER | {"pad_token_id": None},
    "opt": {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 24, "num_hidden_layers": 2, "init_std": 0.3}
    | {"num_attention_heads": 2, "max_position_embeddings": 64},
    "gpt_neox": _DECODER,
}
ARCHITECTURES = ENCODERS | DECODERS
OWN_ATTENTION_ONLY = ("deberta", "deberta-v2", "mpnet", "gemma2")  # transformers has no other for them
WITHOUT_BIASES = (
    *("modernbert", "llama", "mistral", "qwen3", "phi3"),
    *("gemma", "gemma2", "gemma3_text", "olmo2", "smollm3"),
)


def save_base(folder: Path, model_type: str, **settings: Any) -> Path:
    """Save a base checkpoint, without a head, and its tokenizer."""
    from transformers import AutoConfig, AutoModel

    size = _save_letters(folder) if model_type == "qwen2" else save_tokenizer(folder, decoder=model_type in DECODERS)
    special = {"vocab_size": size} | ({"bos_token_id": None, "eos_token_id": 3} if model_type in DECODERS else {})
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **special | ARCHITECTURES[model_type] | settings)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def _save_letters(folder: Path) -> int:
    """Save a tokenizer of single letters: for Qwen2, transformers takes no other class, whatever the folder says."""
    from transformers import Qwen2Tokenizer

    letters = ["<|endoftext|>", "Ġ", *ascii_lowercase]  # the second is how a blank is written
    Qwen2Tokenizer(vocab={letter: index for index, letter in enumerate(letters)}).save_pretrained(folder)
    return len(letters)


def save_language_model(folder: Path, model_type: str, **settings: Any) -> Path:
    """Save a language model of 48 tokens, without a tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    special = {"vocab_size": 48, "bos_token_id": None, "eos_token_id": 3}
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **special | DECODERS[model_type] | settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def load_language_model(base: Path) -> Loaded:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return load_model(AutoModelForCausalLM, str(base), peft_task="CAUSAL_LM", has_head=False)


def load(base: Path) -> Loaded:
    torch.manual_seed(0)
    return TASK.load(str(base), load_tokenizer(str(base)), DATA)


def batch(base: Path) -> dict[str, torch.Tensor]:
    """Eight texts of unlike lengths."""
    rows = sentences(list(LABELS), 8, seed=1)
    texts = tuple(row["text"] for row in rows)
    labels = tuple(LABELS.index(row["label"]) for row in rows)
    tokenizer = load_tokenizer(str(base))
    examples = TASK.tokenise(Rows(tuple(map(str, range(8))), texts, labels), tokenizer)
    assert len(set(examples.lengths)) > 3
    return TASK.collate(examples, range(8), tokenizer)


def logits(network: Any, texts: dict[str, torch.Tensor]) -> torch.Tensor:
    network.eval()
    with torch.inference_mode():
        return TASK.outputs(network, texts)


def alone(network: Any, texts: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits of each text without the others and without padding."""
    lengths = [int(mask.sum()) for mask in texts["attention_mask"]]
    rows = [
        {name: texts[name][row : row + 1, :length] for name in ("input_ids", "attention_mask")}
        for row, length in enumerate(lengths)
    ]
    return torch.cat([logits(network, row) for row in rows])


@dataclass(frozen=True)
class RoundTrip:
    """What became of a model that was adapted, trained for a few steps, saved, and loaded by the printed lines."""

    texts: dict[str, torch.Tensor]
    network: Any
    before: torch.Tensor  # logits of the adapted network, before training
    trained: torch.Tensor
    loaded: Any
    reloaded: torch.Tensor


def round_trip(method: Method, base: Path, folder: Path, steps: int = 3) -> RoundTrip:
    texts = batch(base)
    network = method.adapt(load(base))
    before = logits(network, texts)
    optimizer = torch.optim.AdamW([found for found in network.parameters() if found.requires_grad], lr=2e-2)
    network.train()
    for _ in range(steps):
        torch.autograd.backward(TASK.loss(network, texts).loss)
        optimizer.step()
        optimizer.zero_grad()
    trained = logits(network, texts)
    method.save(network, folder)
    load_tokenizer(str(base)).save_pretrained(folder)
    lines: dict[str, Any] = {}
    exec(TASK.loading_lines(network, str(folder), adapter=method.saves_adapter), lines)
    return RoundTrip(texts, network, before, trained, lines["model"], logits(lines["model"], texts))
