"""Every architecture by every method: trained, saved, loaded by the printed lines, merged."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from architectures import (
    ARCHITECTURES,
    TASK,
    WITHOUT_BIASES,
    alone,
    batch,
    load,
    logits,
    round_trip,
    save_base,
)
from loralab.errors import UserError
from loralab.methods import BitFit, Full, HeadOnly, Lora, Method
from loralab.methods.targets import ROLES, target_modules
from loralab.pretrained import load_tokenizer

METHODS: dict[str, Method] = {
    "full": Full(),
    "lora": Lora(rank=2, alpha=4, targets=("attention",)),
    "lora-all-linear": Lora(rank=2, alpha=4, targets=("all-linear",)),
    "head-only": HeadOnly(),
    "bitfit": BitFit(),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_base(tmp_path_factory.mktemp(name), name) for name in ARCHITECTURES}


@pytest.mark.parametrize(
    ("architecture", "method"),
    [(a, m) for a in ARCHITECTURES for m in METHODS if not (m == "bitfit" and a in WITHOUT_BIASES)],
)
def test_what_was_trained_is_what_is_loaded_and_merged(
    bases: dict[str, Path], architecture: str, method: str, tmp_path: Path
) -> None:
    found = round_trip(METHODS[method], bases[architecture], tmp_path)
    assert (found.trained - found.before).abs().max() > 1e-3
    assert torch.allclose(found.reloaded, found.trained, atol=1e-5)
    if METHODS[method].saves_adapter:
        merged = logits(found.loaded.merge_and_unload(), found.texts)
        assert torch.allclose(merged, found.trained, atol=1e-4)


@pytest.mark.parametrize("architecture", WITHOUT_BIASES)
def test_bitfit_is_refused_where_there_is_no_bias(bases: dict[str, Path], architecture: str) -> None:
    with pytest.raises(UserError, match="has no biases to train; take lora or head-only"):
        BitFit().adapt(load(bases[architecture]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_text_has_the_same_logits_alone_and_in_a_padded_batch(bases: dict[str, Path], architecture: str) -> None:
    network, texts = load(bases[architecture]).network, batch(bases[architecture])
    together = logits(network, texts)
    assert together.std(dim=0).min() > 1e-3  # they depend on the text
    assert torch.allclose(alone(network, texts), together, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_roles_make_up_every_linear_layer_of_a_block(bases: dict[str, Path], architecture: str) -> None:
    loaded = load(bases[architecture])
    blocks = {
        name
        for name, module in loaded.network.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and re.search(r"\.\d+\.", name)
    }
    positions = {name for name in blocks if "pos_" in name}  # DeBERTa's, of relative positions
    by_role = {role: set(target_modules(loaded, (role,))) for role in ROLES if role != "output"}
    assert by_role["all-linear"] == blocks - positions
    assert by_role["attention"] == by_role["query"] | by_role["value"]
    whole = ("attention", "key", "projection", "feed-forward")
    assert set().union(*(by_role[role] for role in whole)) == by_role["all-linear"]
    assert not by_role["feed-forward"] & (by_role["attention"] | by_role["key"] | by_role["projection"])


@pytest.mark.parametrize("architecture", ["gpt2", "modernbert", "deberta", "gpt_neox", "phi3"])
def test_where_one_layer_computes_query_key_and_value_each_role_means_it(
    bases: dict[str, Path], architecture: str
) -> None:
    loaded = load(bases[architecture])
    assert (
        target_modules(loaded, ("query",))
        == target_modules(loaded, ("key",))
        == target_modules(loaded, ("value",))
        == target_modules(loaded, ("attention",))
    )


def test_gpt2s_two_kinds_of_c_proj_are_told_apart(bases: dict[str, Path]) -> None:
    loaded = load(bases["gpt2"])
    assert target_modules(loaded, ("projection",)) == [f"transformer.h.{i}.attn.c_proj" for i in range(2)]
    assert "transformer.h.0.mlp.c_proj" in target_modules(loaded, ("feed-forward",))


def test_an_architecture_without_names_for_roles_has_all_linear_and_a_list_of_layers(tmp_path: Path) -> None:
    loaded = load(save_base(tmp_path, "bert"))
    loaded.network.config.model_type = "newbert"
    found = target_modules(loaded, ("all-linear",))
    assert len(found) == 2 * 6 + 1
    assert "classifier" not in found
    with pytest.raises(UserError, match="which layers are 'attention' is not known for a newbert model") as caught:
        target_modules(loaded, ("attention",))
    assert "attention.self.query" in str(caught.value)


def test_a_decoder_pads_with_its_end_of_text_token_on_the_right(bases: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(str(bases["gpt2"]))
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("[SEP]", "right")
    assert load(bases["gpt2"]).network.config.pad_token_id == 3


def test_a_decoder_finds_its_last_token_whatever_padding_the_checkpoint_names(tmp_path: Path) -> None:
    base = save_base(tmp_path, "llama", pad_token_id=7)
    assert load(base).network.config.pad_token_id == 3


def test_a_text_that_holds_the_padding_token_is_read_the_same_alone_and_in_a_batch(bases: dict[str, Path]) -> None:
    network = load(bases["gpt2"]).network
    text = [10, 11, 3, 12, 3]  # with an end-of-text token inside and one at its end
    padded = {"input_ids": torch.tensor([[*text, 3, 3]]), "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0, 0]])}
    assert torch.allclose(alone(network, padded), logits(network, padded), atol=1e-5)


def test_a_tokenizer_with_nothing_to_pad_with_says_how_to_name_it(tmp_path: Path) -> None:
    base = save_base(tmp_path, "gpt2")
    file = base / "tokenizer_config.json"
    settings: dict[str, Any] = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in settings.items() if name != "eos_token"}))
    with pytest.raises(UserError, match="neither a padding nor an end-of-text token"):
        load_tokenizer(str(base))


RELOAD = """
import json, torch
from transformers import AutoTokenizer
{loading}
tokenizer = AutoTokenizer.from_pretrained({folder!r})
model.eval()
with torch.inference_mode():
    print(json.dumps(model(**tokenizer({texts!r}, padding=True, return_tensors="pt")).logits.double().tolist()))
"""


def test_a_decoders_adapter_is_loaded_in_a_fresh_process(bases: dict[str, Path], tmp_path: Path) -> None:
    found = round_trip(METHODS["lora"], bases["gpt2"], tmp_path)
    tokenizer = load_tokenizer(str(bases["gpt2"]))
    masks = found.texts["attention_mask"].bool()
    texts = [tokenizer.decode(row[mask]) for row, mask in zip(found.texts["input_ids"], masks, strict=True)]
    loading = TASK.loading_lines(found.network, str(tmp_path), adapter=True)
    script = RELOAD.format(loading=loading, folder=str(tmp_path), texts=texts)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert torch.allclose(torch.tensor(json.loads(done.stdout.splitlines()[-1])), found.trained, atol=1e-5)
