"""Methods on language models: which layers the roles mean, how much is trained, and that there is no head."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from architectures import DECODERS, ENCODERS, load_language_model, save_base, save_language_model
from loralab.errors import UserError
from loralab.measure import count_parameters
from loralab.methods import BitFit, Full, HeadOnly, Lora
from loralab.methods.targets import target_modules
from loralab.pretrained import Loaded

# Where adapters go, one kind of layer more at each stage.
STAGES = {
    "lora-1": ("attention",),
    "lora-2": ("attention", "projection"),
    "lora-3": ("attention", "projection", "feed-forward"),
    "lora-4": ("attention", "projection", "feed-forward", "output"),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_language_model(tmp_path_factory.mktemp(name), name) for name in DECODERS}


@pytest.fixture
def gpt2_124m() -> Loaded:
    """GPT-2 of its published size, with no weights in memory."""
    with torch.device("meta"):
        network = GPT2LMHeadModel(GPT2Config())
    network.tie_weights()
    return Loaded(network, frozenset(), "CAUSAL_LM")


RANK = 8
ATTENTION = 12 * RANK * (768 + 2304)
PROJECTION = 12 * RANK * (768 + 768)
FEED_FORWARD = 12 * RANK * 2 * (768 + 3072)
OUTPUT = RANK * (768 + 50257)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("lora-1", ATTENTION),
        ("lora-2", ATTENTION + PROJECTION),
        ("lora-3", ATTENTION + PROJECTION + FEED_FORWARD),
        ("lora-4", ATTENTION + PROJECTION + FEED_FORWARD + OUTPUT),
    ],
)
def test_each_stage_of_lora_trains_so_many_parameters_of_gpt2(gpt2_124m: Loaded, stage: str, expected: int) -> None:
    counted = count_parameters(Lora(rank=RANK, alpha=16, targets=STAGES[stage]).adapt(gpt2_124m))
    assert (counted.trainable, counted.total) == (expected, 124_439_808 + expected)


# The layers of one block by role. GPT-2, GPT-NeoX and Phi-3 compute query, key and value in one.
LLAMA = (
    ("self_attn.q_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)
LAYERS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "gpt2": (("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc", "mlp.c_proj")),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "olmo2", "smollm3"), LLAMA),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), LLAMA),
    "phi": (("self_attn.q_proj", "self_attn.v_proj"), ("self_attn.dense",), ("mlp.fc1", "mlp.fc2")),
    "phi3": (("self_attn.qkv_proj",), ("self_attn.o_proj",), ("mlp.gate_up_proj", "mlp.down_proj")),
    "opt": (("self_attn.q_proj", "self_attn.v_proj"), ("self_attn.out_proj",), ("fc1", "fc2")),
    "gpt_neox": (
        ("attention.query_key_value",),
        ("attention.dense",),
        ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
}


@pytest.mark.parametrize("architecture", DECODERS)
def test_each_stage_adds_its_layers_in_every_block_and_the_last_one_the_output(
    bases: dict[str, Path], architecture: str
) -> None:
    loaded = load_language_model(bases[architecture])
    expected: set[str] = set()
    for stage, added in zip(("lora-1", "lora-2", "lora-3"), LAYERS[architecture], strict=True):
        expected |= {f"{block}.{name}" for block in (0, 1) for name in added}
        found = target_modules(loaded, STAGES[stage])
        assert sorted(re.sub(r"^\D+", "", name) for name in found) == sorted(expected)
    assert target_modules(loaded, STAGES["lora-4"]) == [*found, "lm_head"]


@pytest.mark.parametrize("architecture", DECODERS)
@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_trains_rank_times_the_sides_of_its_layers(
    bases: dict[str, Path], architecture: str, stage: str
) -> None:
    loaded = load_language_model(bases[architecture])
    layers = [loaded.network.get_submodule(name) for name in target_modules(loaded, STAGES[stage])]
    sides = sum(sum(layer.weight.shape) for layer in layers)
    network = Lora(rank=2, alpha=4, targets=STAGES[stage]).adapt(loaded)
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert count_parameters(network).trainable == 2 * sides
    assert all(".lora_" in name for name in trained)


@pytest.mark.parametrize("architecture", DECODERS)
def test_all_linear_is_every_layer_but_the_output(bases: dict[str, Path], architecture: str) -> None:
    loaded = load_language_model(bases[architecture])
    linear = [name for name, module in loaded.network.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    assert linear[-1] == "lm_head"
    for model_type in (architecture, "newgpt"):  # the second is one that loralab has no names for
        loaded.network.config.model_type = model_type
        assert target_modules(loaded, ("all-linear",)) == linear[:-1]
        assert target_modules(loaded, ("all-linear", "output")) == linear
        assert target_modules(loaded, ("lm_head",)) == target_modules(loaded, ("output",)) == ["lm_head"]


def test_a_language_model_has_no_head_to_train_alone(bases: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="method head-only: a language model has no new head; take lora"):
        HeadOnly().adapt(load_language_model(bases["gpt2"]))


def test_bitfit_trains_the_biases_of_a_language_model_alone(bases: dict[str, Path]) -> None:
    network = BitFit().adapt(load_language_model(bases["gpt2"]))
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert trained == {name for name, _ in network.named_parameters() if name.endswith("bias")}
    with pytest.raises(UserError, match=r"has no biases to train; take lora$"):
        BitFit().adapt(load_language_model(bases["llama"]))


def test_full_fine_tuning_counts_a_tied_weight_once(gpt2_124m: Loaded) -> None:
    assert count_parameters(Full().adapt(gpt2_124m)).trainable == 124_439_808


# Which checkpoints are a language model's


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_language_model_comes_whole_from_its_checkpoint(bases: dict[str, Path], architecture: str) -> None:
    assert load_language_model(bases[architecture]).head == frozenset()


def test_what_is_tied_to_a_weight_of_the_checkpoint_counts_as_there(tmp_path: Path) -> None:
    assert load_language_model(save_base(tmp_path, "gpt2")).head == frozenset()


@pytest.mark.parametrize(
    ("architecture", "lacking"), [("llama", r"lm_head\.weight"), ("bert", r"cls\.predictions\.bias, .* and \d more")]
)
def test_a_base_model_without_an_output_layer_is_refused_not_given_a_random_one(
    architecture: str, lacking: str, tmp_path: Path
) -> None:
    base = save_base(tmp_path, architecture)
    expected = rf"is no language model's checkpoint: it lacks, or holds in another shape, {lacking}\n  take a model"
    with pytest.raises(UserError, match=expected):
        load_language_model(base)


def test_an_output_layer_of_another_shape_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    base = Path(shutil.copytree(bases["llama"], tmp_path / "base"))
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"][:40].clone()
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"is no language model's checkpoint: .*lm_head\.weight"):
        load_language_model(base)


def test_a_network_that_reads_the_next_token_is_no_language_model(tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(vocab_size=48, **ENCODERS["bert"])).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="its network, a bert, reads the very tokens that it is to predict"):
        load_language_model(tmp_path)
