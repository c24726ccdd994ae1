"""Any other method of PEFT: its own names, checked against its own classes; trained, saved and loaded exactly."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import alone, load, round_trip, save_base
from conftest import toy_file
from loralab.errors import MistakesError, UserError
from loralab.files import parse_experiment
from loralab.methods import Peft


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("bert"), "bert")


METHODS: dict[str, dict[str, Any]] = {
    "IA3": {"targets": ["key", "value", "feed-forward"]},
    "VERA": {"r": 4, "targets": ["attention"]},
    "OFT": {"oft_block_size": 4, "targets": ["attention"]},
    "LOHA": {"r": 2, "alpha": 4, "target_modules": ["query", "value"]},
    "LOKR": {"r": 2, "alpha": 4, "targets": ["all-linear"]},
    "BOFT": {"boft_block_size": 4, "targets": ["query"]},
    "HRA": {"r": 2, "targets": ["query"]},
    "LN_TUNING": {"target_modules": ["LayerNorm"]},
    "PROMPT_TUNING": {"num_virtual_tokens": 3},
    "P_TUNING": {"num_virtual_tokens": 3},
}


@pytest.mark.parametrize("peft_type", METHODS)
def test_a_method_is_trained_with_the_head_and_loaded_as_it_was_saved(
    bert: Path, peft_type: str, tmp_path: Path
) -> None:
    method = Peft.model_validate({"peft_type": peft_type, **METHODS[peft_type]})
    assert method.mistakes() == []
    found = round_trip(method, bert, tmp_path)
    trained = [name for name, parameter in found.network.named_parameters() if parameter.requires_grad]
    assert any("classifier" in name for name in trained)
    assert any("classifier" not in name for name in trained)
    assert (found.trained - found.before).abs().max() > 1e-3
    assert torch.allclose(found.reloaded, found.trained, atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_decoder_takes_a_prefix(architecture: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", architecture)
    method = Peft.model_validate({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3})
    found = round_trip(method, base, tmp_path / "saved")
    assert torch.allclose(found.reloaded, found.trained, atol=1e-5)
    assert torch.allclose(alone(found.loaded, found.texts), found.trained, atol=1e-5)


@pytest.mark.parametrize("architecture", ["distilbert", "albert", "electra", "modernbert"])
def test_a_prompt_is_as_wide_as_the_embeddings(architecture: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", architecture)
    method = Peft.model_validate({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3})
    found = round_trip(method, base, tmp_path / "saved")
    assert torch.allclose(found.reloaded, found.trained, atol=1e-5)
    assert torch.allclose(alone(found.loaded, found.texts), found.trained, atol=1e-5)


def test_ia3_by_pefts_own_choice_of_layers_is_loaded_as_it_was_saved(bert: Path, tmp_path: Path) -> None:
    found = round_trip(Peft(peft_type="IA3"), bert, tmp_path)
    assert torch.allclose(found.reloaded, found.trained, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "peft_type", "expected"),
    [
        ("bert", "PREFIX_TUNING", "networks of type bert take no prefix; take peft_type PROMPT_TUNING"),
        ("gpt2", "PROMPT_TUNING", "classifiers of type gpt2 mistake padding behind a prompt"),
    ],
)
def test_a_prompt_that_a_classifier_cant_take_is_refused(
    architecture: str, peft_type: str, expected: str, tmp_path: Path
) -> None:
    loaded = load(save_base(tmp_path, architecture))
    with pytest.raises(UserError, match=expected):
        Peft.model_validate({"peft_type": peft_type, "num_virtual_tokens": 3}).adapt(loaded)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"peft_type": "TRAINABLE_TOKENS", "token_indices": [1]}, "TRAINABLE_TOKENS has no place for the new head"),
        ({"peft_type": "ADAPTION_PROMPT", "adapter_len": 3}, "ADAPTION_PROMPT is made for language models"),
    ],
)
def test_a_method_that_cant_train_a_head_is_refused_to_classifiers(
    bert: Path, method: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        Peft.model_validate(method).adapt(load(bert))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"peft_type": "SHADOW", "r": 2}, "it adds a loss of its small network"),
        (
            {"peft_type": "ADAMSS", "use_asa": True, "target_modules": ["query"]},
            "use_asa needs a call",
        ),
    ],
)
def test_a_method_that_the_loop_would_train_without_a_part_of_it_is_refused(
    method: dict[str, Any], expected: str
) -> None:
    (mistake,) = Peft.model_validate(method).mistakes()
    assert expected in mistake


def test_all_linear_in_pefts_own_words_leaves_distilberts_head_alone(tmp_path: Path) -> None:
    loaded = load(save_base(tmp_path, "distilbert"))
    network = Peft.model_validate({"peft_type": "LOHA", "target_modules": "all-linear"}).adapt(loaded)
    adapted = {name.split(".hada_")[0] for name, _ in network.named_parameters() if ".hada_" in name}
    assert adapted
    assert not [name for name in adapted if "classifier" in name]


def test_what_peft_refuses_at_the_model_is_told_in_its_words(bert: Path) -> None:
    method = Peft.model_validate({"peft_type": "LOHA", "target_modules": ["nowhere"]})
    with pytest.raises(UserError, match="PEFT can't make LOHA of these settings: No modules were targeted"):
        method.adapt(load(bert))


def mistakes_of(**method: Any) -> tuple[str, ...]:
    raw = deepcopy(toy_file(Path("model"), Path("data")))
    raw["arms"]["other"] = {"method": {"kind": "peft", **method}, "learning_rates": [1e-3, 1e-2]}
    with pytest.raises(MistakesError) as caught:
        parse_experiment(raw, "toy.yaml")
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"peft_type": "VERRA"}, "no peft_type is called 'VERRA'; did you mean 'VERA'?"),
        ({}, ".peft_type: is missing"),
        ({"peft_type": "VERA", "vera_droput": 0.1}, "no setting is called 'vera_droput'; did you mean 'vera_dropout'?"),
        ({"peft_type": "VERA", "r": "many"}, "r can't be 'many': Input should be a valid integer"),
        ({"peft_type": "VERA", "r": "4"}, "r can't be '4': Input should be a valid integer"),
        ({"peft_type": "IA3", "task_type": "SEQ_CLS"}, "task_type is set by loralab; leave it out"),
        ({"peft_type": "IA3", "modules_to_save": ["x"]}, "modules_to_save is set by loralab; leave it out"),
        (
            {"peft_type": "VERA", "targets": ["query"], "target_modules": ["query"]},
            "give either targets or target_modules",
        ),
        ({"peft_type": "PROMPT_TUNING"}, "num_virtual_tokens is missing"),
        (
            {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3, "targets": ["attention"]},
            "PROMPT_TUNING has no targets; leave them out",
        ),
        ({"peft_type": "OFT", "r": 8, "oft_block_size": 8}, "arms.other.method: "),
        ({"peft_type": "IA3", "target_modules": ["query"]}, "feedforward_modules is missing"),
        (
            {"peft_type": "CPT", "cpt_token_ids": [1]},
            "CPT can't be compared here: it needs a loss of its own",
        ),
        ({"peft_type": "LORA", "r": 8}, "peft_type LORA can't be compared here: take kind lora"),
        ({"peft_type": "ADALORA", "total_step": 9}, "which the training loop doesn't make"),
        ({"peft_type": "IA3", "targets": []}, ".targets: is empty"),
    ],
)
def test_a_mistake_in_pefts_settings_is_told_with_the_arm(method: dict[str, Any], expected: str) -> None:
    (mistake,) = mistakes_of(**method)
    assert mistake.startswith("arms.other.method")
    assert expected in mistake


def test_all_mistakes_in_pefts_settings_are_told_at_once() -> None:
    assert len(mistakes_of(peft_type="VERA", r="many", vera_droput=0.1, task_type="SEQ_CLS")) == 3


def test_what_is_read_is_what_was_written() -> None:
    method = Peft.model_validate({"peft_type": "VERA", "r": 4, "targets": ["attention"]})
    assert Peft.model_validate_json(method.model_dump_json()) == method


@pytest.mark.parametrize(("kind", "imported"), [("lora", False), ("peft", True)])
def test_only_an_arm_of_peft_makes_the_reader_import_torch(kind: str, imported: bool) -> None:
    method = {"kind": "lora", "rank": 4, "alpha": 8} if kind == "lora" else {"kind": "peft", "peft_type": "IA3"}
    raw = toy_file(Path("model"), Path("data"), arms={"full": {"method": method, "learning_rates": [1e-3]}})
    script = f"import sys; from loralab.files import parse_experiment; parse_experiment({raw!r}, 'x'); "
    done = subprocess.run(
        [sys.executable, "-c", script + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(imported)
