"""Models whose output layer shares its weight with the input embedding: adapted, saved, loaded and merged."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from architectures import load_language_model, save_language_model
from loralab.checks import reloading, weights
from loralab.errors import UserError
from loralab.measure import bytes_in
from loralab.methods import BitFit, Full, Lora, Method, Peft
from loralab.methods.merging import merged
from loralab.results import Check

EMBEDDINGS = {"gpt2": "transformer.wte", "llama": "model.embed_tokens"}
TOKENS = torch.arange(4, 44).reshape(4, 10)
WHOLE = ("all-linear", "output")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: save_language_model(tmp_path_factory.mktemp(name), name, tie_word_embeddings=True) for name in EMBEDDINGS
    }


def logits(network: Any) -> torch.Tensor:
    network.eval()
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=TOKENS).logits
    return found


@dataclass(frozen=True)
class Trained:
    """A model after a few steps, in memory and saved."""

    network: Any
    begun: Any
    folder: Path

    def loaded(self) -> Any:
        loader = AutoPeftModelForCausalLM if (self.folder / "adapter_config.json").exists() else AutoModelForCausalLM
        return loader.from_pretrained(self.folder, dtype="float32")


def train(method: Method, base: Path, folder: Path) -> Trained:
    network = method.adapt(load_language_model(base))
    begun = deepcopy(network)
    optimizer = torch.optim.AdamW([found for found in network.parameters() if found.requires_grad], lr=2e-2)
    network.train()
    for _ in range(3):
        network(input_ids=TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    method.save(network, folder)
    return Trained(network, begun, folder)


def lora(**settings: Any) -> Lora:
    return Lora(**{"rank": 2, "alpha": 4, "targets": WHOLE} | settings)


METHODS: dict[str, tuple[Method, tuple[str, ...]]] = {
    "full": (Full(), ("gpt2", "llama")),
    "lora": (lora(), ("gpt2", "llama")),
    "lora on the output alone": (lora(targets=("output",)), ("gpt2", "llama")),
    "lora beside the output": (lora(targets=("all-linear",)), ("gpt2", "llama")),
    "dora": (lora(dora=True), ("gpt2", "llama")),
    "rslora, gaussian, biases": (lora(rslora=True, init="gaussian", bias="all"), ("gpt2", "llama")),
    "orthogonal": (lora(init="orthogonal"), ("gpt2", "llama")),
    "pissa beside the output": (lora(init="pissa", targets=("all-linear",)), ("gpt2", "llama")),
    "bitfit": (BitFit(), ("gpt2",)),  # Llama has no biases
    "IA3": (Peft(peft_type="IA3", targets=("attention", "feed-forward", "output")), ("gpt2", "llama")),
    "VeRA": (Peft.model_validate({"peft_type": "VERA", "r": 2, "targets": ["attention", "output"]}), ("gpt2", "llama")),
    "LoKr": (Peft.model_validate({"peft_type": "LOKR", "r": 2, "targets": list(WHOLE)}), ("llama",)),
    "trainable tokens": (
        Peft.model_validate({"peft_type": "TRAINABLE_TOKENS", "token_indices": [4, 5]}),
        ("gpt2", "llama"),
    ),
    "prefix": (Peft.model_validate({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}), ("gpt2", "llama")),
    "adaption prompt": (
        Peft.model_validate({"peft_type": "ADAPTION_PROMPT", "adapter_len": 3, "adapter_layers": 2}),
        ("gpt2", "llama"),
    ),
}
CASES = [(method, architecture) for method, (_, architectures) in METHODS.items() for architecture in architectures]
UNMERGED = ("prefix", "adaption prompt")  # PEFT can't


@pytest.fixture(scope="module")
def trained(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Trained]:
    """Trains a method on a model, once for all tests: none of them may change what it gets."""
    kept: dict[tuple[str, str], Trained] = {}

    def get(method: str, architecture: str) -> Trained:
        if (method, architecture) not in kept:
            folder = tmp_path_factory.mktemp("saved")
            kept[method, architecture] = train(METHODS[method][0], bases[architecture], folder)
        return kept[method, architecture]

    return get


GetTrained = Callable[[str, str], Trained]


@pytest.mark.parametrize(("method", "architecture"), CASES)
def test_every_method_on_a_tied_model_is_loaded_as_it_was_saved(
    trained: GetTrained, method: str, architecture: str
) -> None:
    found = trained(method, architecture)
    assert (logits(found.network) - logits(found.begun)).abs().max() > 1e-3
    tolerance = 1e-5 if "pissa" in method else 1e-6  # its adapter is rewritten to twice its rank
    assert torch.allclose(logits(found.loaded()), logits(found.network), atol=tolerance)


@pytest.mark.parametrize(("method", "architecture"), CASES)
def test_every_method_on_a_tied_model_passes_the_checks_of_its_weights(
    trained: GetTrained, method: str, architecture: str
) -> None:
    found, nobody = trained(method, architecture), frozenset[str]()
    checks = (
        weights.frozen_weights(found.network, lambda: found.begun),
        weights.trained_weights(found.network, lambda: found.begun, nobody),
        weights.tied_weights(found.network, lambda: found.begun),
        weights.saved_size(bytes_in(found.folder), METHODS[method][0], found.network),
        merged_logits(found),
    )
    assert [check for check in checks if check is not None and not check.passed] == []
    assert checks[2] is not None  # the output is tied still
    assert (checks[4] is not None) == (METHODS[method][0].saves_adapter and method not in UNMERGED)
    assert weights.saved_head(found.network, nobody, found.folder) is None


def merged_logits(found: Trained) -> Check | None:
    again: Any = SimpleNamespace(model=found.loaded(), logits=lambda network: logits(network).numpy())
    return reloading.merged_logits(lambda: again)


# An adapter on the output layer


@pytest.mark.parametrize("architecture", EMBEDDINGS)
def test_lora_on_the_output_leaves_the_input_embedding_untouched(
    trained: GetTrained, bases: dict[str, Path], architecture: str
) -> None:
    found = trained("lora on the output alone", architecture)
    embedding = f"base_model.model.{EMBEDDINGS[architecture]}.weight"
    checkpoint = load_language_model(bases[architecture]).network.get_input_embeddings().weight
    assert torch.equal(dict(found.network.named_parameters())[embedding], checkpoint)
    network = deepcopy(found.network)
    network(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert sorted(name for name, weight in network.named_parameters() if weight.grad is not None) == [
        f"base_model.model.lm_head.lora_{matrix}.default.weight" for matrix in "AB"
    ]


@pytest.mark.parametrize("method", ["lora", "dora", "IA3", "VeRA"])
@pytest.mark.parametrize("architecture", EMBEDDINGS)
def test_a_saved_adapter_holds_no_copy_of_the_vocabulary(trained: GetTrained, architecture: str, method: str) -> None:
    saved = load_file(trained(method, architecture).folder / "adapter_model.safetensors")
    assert any("lm_head" in name for name in saved)
    assert not [name for name, weight in saved.items() if "base_layer" in name or weight.numel() >= 48 * 16]


def test_adapting_the_output_of_a_tied_model_warns_of_nothing(bases: dict[str, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lora().adapt(load_language_model(bases["llama"]))


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora"])
def test_a_beginning_that_would_move_the_input_embedding_too_is_refused(bases: dict[str, Path], init: str) -> None:
    loaded = load_language_model(bases["llama"])
    with pytest.raises(UserError, match=rf"method.init: {init} would take B A out of the input embedding too"):
        lora(init=init).adapt(loaded)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_output_with_a_weight_of_its_own_may_begin_from_it(init: str, tmp_path: Path) -> None:
    base = save_language_model(tmp_path / "base", "llama", tie_word_embeddings=False)
    found = train(lora(init=init), base, tmp_path / "saved")
    assert torch.allclose(logits(found.begun), logits(load_language_model(base).network), atol=1e-5)
    assert torch.allclose(logits(found.loaded()), logits(found.network), atol=1e-5)


# Full fine-tuning


@pytest.mark.parametrize("architecture", EMBEDDINGS)
def test_full_fine_tuning_moves_the_tied_weight_and_keeps_it_one(trained: GetTrained, architecture: str) -> None:
    found = trained("full", architecture)
    for network in (found.network, found.loaded()):
        assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    begun = found.begun.get_input_embeddings().weight
    assert not torch.equal(found.network.get_input_embeddings().weight, begun)
    assert "lm_head.weight" not in load_file(found.folder / "model.safetensors")


# Merging


MERGED = [(method, architecture) for method, architecture in CASES if METHODS[method][0].saves_adapter]


@pytest.mark.parametrize(("method", "architecture"), [case for case in MERGED if case[0] not in UNMERGED])
def test_a_merged_model_gives_the_adapters_logits_and_does_so_when_loaded_again(
    trained: GetTrained, method: str, architecture: str, tmp_path: Path
) -> None:
    found = trained(method, architecture)
    plain = merged(found.loaded())
    assert torch.allclose(logits(plain), logits(found.network), atol=1e-4)
    plain.save_pretrained(tmp_path)
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32", output_loading_info=True)
    assert torch.equal(logits(again), logits(plain))
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("architecture", EMBEDDINGS)
def test_merging_unties_an_adapted_output_for_good(
    trained: GetTrained, bases: dict[str, Path], architecture: str
) -> None:
    plain = merged(trained("lora", architecture).loaded())
    expected = logits(plain)
    plain.tie_weights()
    plain.tie_weights(recompute_mapping=False)  # as transformers does when it loads
    assert torch.equal(logits(plain), expected)
    assert not plain.config.tie_word_embeddings
    embedding = load_language_model(bases[architecture]).network.get_input_embeddings().weight
    assert torch.equal(plain.get_input_embeddings().weight, embedding)


@pytest.mark.parametrize("architecture", EMBEDDINGS)
def test_merging_keeps_the_tie_where_the_output_is_not_adapted(trained: GetTrained, architecture: str) -> None:
    plain = merged(trained("lora beside the output", architecture).loaded())
    assert plain.get_output_embeddings().weight is plain.get_input_embeddings().weight
    assert plain.config.tie_word_embeddings


def test_merging_as_peft_does_it_is_caught_by_the_check(trained: GetTrained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loralab.methods.merging._is_adapted", lambda network: False)
    check = merged_logits(trained("lora", "gpt2"))
    assert check is not None
    assert not check.passed
