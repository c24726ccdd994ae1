"""LoRA's variants: each begins and ends where it should, and is saved as an adapter over the original checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from architectures import load, logits, round_trip, save_base
from conftest import MakeExperiment
from loralab.errors import UserError
from loralab.methods import Full, Lora, Peft, rate_factor
from loralab.methods.targets import target_modules
from loralab.plan import tuning_trials
from loralab.train import carry_out


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("gpt2"), "gpt2")


def lora(**settings: Any) -> Lora:
    return Lora(**{"rank": 4, "alpha": 8, "targets": ("all-linear",)} | settings)


VARIANTS: list[dict[str, Any]] = [
    {"dora": True},
    {"rslora": True},
    {"dora": True, "rslora": True, "init": "gaussian"},
    {"init": "gaussian"},
    {"init": "orthogonal"},
    {"init": "pissa"},
    {"init": "pissa", "rslora": True},
    {"init": "pissa_niter_4"},
    {"init": "pissa", "bias": "all"},
    {"init": "olora"},
    {"init": "olora", "rslora": True},
    {"bias": "all"},
    {"bias": "lora_only"},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda found: "-".join(map(str, found.values())))
@pytest.mark.parametrize("base", ["bert", "gpt2"])
def test_a_variant_begins_at_the_checkpoint_and_is_reloaded_and_merged_as_it_was_trained(
    request: pytest.FixtureRequest, base: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    if base == "gpt2" and settings.get("init") == "olora":
        pytest.skip("refused, see below")
    checkpoint: Path = request.getfixturevalue(base)
    found = round_trip(lora(**settings), checkpoint, tmp_path)
    assert torch.allclose(found.before, logits(load(checkpoint).network, found.texts), atol=1e-5)
    assert (found.trained - found.before).abs().max() > 1e-3
    assert torch.allclose(found.reloaded, found.trained, atol=1e-5)
    merged = logits(found.loaded.merge_and_unload(), found.texts)
    assert torch.allclose(merged, found.trained, atol=1e-4)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_what_begins_in_the_weights_is_saved_as_a_plain_adapter_of_twice_the_rank(
    bert: Path, init: str, tmp_path: Path
) -> None:
    round_trip(lora(init=init), bert, tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"], saved["init_lora_weights"]) == (8, 16, True)
    assert Path(saved["base_model_name_or_path"]) == bert


@pytest.mark.parametrize(("bias", "trained"), [("none", 0), ("lora_only", 2), ("all", 18)])
def test_bias_says_which_biases_are_trained(bert: Path, bias: str, trained: int) -> None:
    network = lora(bias=bias, targets=("query",)).adapt(load(bert))
    biases = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and name.endswith("bias") and "classifier" not in name
    ]
    assert len(biases) == trained
    assert not [name for name, found in network.named_parameters() if found.requires_grad and "original_module" in name]


def test_rslora_scales_by_the_root_of_the_rank(bert: Path) -> None:
    layer = lora(rslora=True).adapt(load(bert)).get_submodule("base_model.model." + target(bert))
    assert layer.scaling["default"] == 8 / 4**0.5


def target(base: Path) -> str:
    return target_modules(load(base), ("query",))[0]


def test_a_rank_larger_than_a_layer_names_the_layer_and_its_size(bert: Path) -> None:
    with pytest.raises(UserError, match=r"method.rank: 17 is larger than the layer \S*query of 16 x 16 weights"):
        lora(rank=17, targets=("query",)).adapt(load(bert))
    lora(rank=16, targets=("query",)).adapt(load(bert))


def test_olora_is_refused_on_gpt2s_transposed_layers(gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"mistakes the transposed layer \S*c_attn; take pissa"):
        lora(init="olora").adapt(load(gpt2))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"dora": True, "init": "pissa"}, "dora can't begin from pissa"),
        ({"dora": True, "init": "olora"}, "dora can't begin from olora"),
        ({"init": "orthogonal", "rank": 3}, "init orthogonal needs an even rank, not 3"),
        ({"init": "pisa"}, "'pisa' is not one of default, gaussian, orthogonal, pissa, pissa_niter_N, olora"),
        ({"init": "pissa_niter_"}, "is not one of"),
        ({"bias": "olora"}, "'none', 'all' or 'lora_only'"),
        ({"lora_plus": 0}, "greater than 0"),
    ],
)
def test_settings_that_dont_go_together_are_a_mistake_in_the_file(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        lora(**settings)


def test_lora_plus_raises_the_rate_of_b_alone(bert: Path) -> None:
    from loralab.engine.optimise import _groups

    method = lora(lora_plus=16.0, dora=True)
    trained = {name: found for name, found in method.adapt(load(bert)).named_parameters() if found.requires_grad}
    rates = {name: 1e-3 * rate_factor(method, name) for name in trained}
    groups = _groups(trained, rates, weight_decay=0.01)
    names = {id(parameter): name for name, parameter in trained.items()}
    raised = {names[id(found)] for group in groups if group["lr"] == 16e-3 for found in group["params"]}
    assert raised == {name for name in trained if ".lora_B." in name}
    assert sum(len(group["params"]) for group in groups) == len(trained)


def test_lora_plus_reaches_the_training_loop(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    def losses(lora_plus: float | None) -> list[float]:
        arm = {
            "method": {"kind": "lora", "rank": 4, "alpha": 8, "lora_plus": lora_plus},
            "learning_rates": [1e-3, 1e-2],
        }
        trial = tuning_trials(make_experiment(arms={"full": arm}))[0]
        return [point.training_loss for point in carry_out(trial, tmp_path, lambda _: None, 8).curve]

    assert losses(1) == losses(None)
    assert losses(16) != losses(None)


def test_without_lora_plus_every_parameter_has_the_arms_rate() -> None:
    for method in (Full(), lora(), Peft(peft_type="IA3")):
        assert rate_factor(method, "base_model.model.bert.pooler.lora_B.default.weight") == 1.0
