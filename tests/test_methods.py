"""How models are adapted: what is trained, what is frozen, what is saved."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
)

from loralab.errors import UserError
from loralab.measure import count_parameters
from loralab.methods import BitFit, Full, HeadOnly, Lora, Peft, Untouched
from loralab.methods.targets import ROLES, target_modules
from loralab.pretrained import Loaded, head_modules

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def loaded(config: Any) -> Loaded:
    """A classifier whose checkpoint held the base model alone."""
    network = AutoModelForSequenceClassification.from_config(config)
    head = {name for name, _ in network.named_parameters() if not name.startswith(f"{network.base_model_prefix}.")}
    return Loaded(network, frozenset(head), "SEQ_CLS")


@pytest.fixture
def distilbert() -> Loaded:
    """DistilBERT-base with two labels: 67 million random weights."""
    with torch.device("meta"):
        network = DistilBertForSequenceClassification(DistilBertConfig(num_labels=2))
    head = {name for name, _ in network.named_parameters() if not name.startswith("distilbert.")}
    return Loaded(network, frozenset(head), "SEQ_CLS")


def test_full_fine_tuning_trains_all_66_955_010_parameters_of_distilbert(distilbert: Loaded) -> None:
    counted = count_parameters(Full().adapt(distilbert))
    assert counted.trainable == counted.total == 66_955_010


def test_lora_of_rank_8_on_query_and_value_trains_739_586(distilbert: Loaded) -> None:
    network = Lora(rank=8, alpha=16, targets=("attention",)).adapt(distilbert)
    assert count_parameters(network).trainable == 739_586


def test_nothing_is_frozen_under_full() -> None:
    before = loaded(BertConfig(**SMALL))
    before.network.requires_grad_(False)
    assert all(parameter.requires_grad for parameter in Full().adapt(before).parameters())


def test_head_only_trains_what_the_checkpoint_lacked() -> None:
    before = loaded(RobertaConfig(**SMALL))
    network = HeadOnly().adapt(before)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == before.head
    assert any(name.startswith("classifier.dense") for name in trained)


def test_untouched_trains_nothing() -> None:
    assert count_parameters(Untouched().adapt(loaded(BertConfig(**SMALL)))).trainable == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BertConfig(**SMALL), ["classifier"]),
        (RobertaConfig(**SMALL), ["classifier"]),
        (
            DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_layers=1, n_heads=2),
            ["pre_classifier", "classifier"],
        ),
        (DebertaV2Config(**SMALL), ["pooler", "classifier"]),
    ],
    ids=["bert", "roberta", "distilbert", "deberta"],
)
def test_the_head_is_named_by_its_outermost_modules(config: Any, expected: list[str]) -> None:
    assert head_modules(loaded(config)) == expected


@pytest.mark.parametrize("role", [role for role in ROLES if role != "output"])
def test_every_role_is_found_in_bert_and_leaves_the_head_alone(role: str) -> None:
    found = target_modules(loaded(BertConfig(**SMALL)), (role,))
    layers = {"attention": 2, "feed-forward": 2, "all-linear": 6}.get(role, 1)
    assert len(found) == layers * SMALL["num_hidden_layers"]
    assert not [name for name in found if "classifier" in name]


def test_all_linear_on_distilbert_does_not_stumble_over_its_head(distilbert: Loaded) -> None:
    network = Lora(rank=2, alpha=4, targets=("all-linear",)).adapt(distilbert)
    adapters = 6 * (4 * 2 * (768 + 768) + 2 * 2 * (768 + 3072))
    head = 768 * 768 + 768 + 768 * 2 + 2
    assert count_parameters(network).trainable == adapters + head


def test_a_layer_can_be_named_by_the_end_of_its_name() -> None:
    found = target_modules(loaded(BertConfig(**SMALL)), ("self.key",))
    assert found == [f"bert.encoder.layer.{layer}.attention.self.key" for layer in range(2)]


def test_a_target_that_is_not_there_lists_the_layers() -> None:
    with pytest.raises(UserError, match=r"'q_proj' is neither a role nor a linear layer of this bert model") as caught:
        target_modules(loaded(BertConfig(**SMALL)), ("q_proj",))
    assert "attention.self.query" in str(caught.value)


def test_a_classifier_has_no_output_layer() -> None:
    with pytest.raises(UserError, match=r"method.targets: this bert model has no layer 'output'.*leave it out"):
        target_modules(loaded(BertConfig(**SMALL)), ("all-linear", "output"))


def test_the_projection_has_a_second_name() -> None:
    before = loaded(BertConfig(**SMALL))
    assert target_modules(before, ("output-projection",)) == target_modules(before, ("projection",))


def test_a_saved_adapter_holds_the_head_and_no_frozen_weight(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    method = Lora(rank=2, alpha=4)
    method.save(method.adapt(loaded(RobertaConfig(**SMALL))), tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors").keys()
    assert {"lora_A", "lora_B"} <= {part for name in names for part in name.split(".")}
    assert len([name for name in names if "classifier" in name]) == 4
    assert all("lora_" in name or "classifier" in name for name in names)


def test_bitfit_trains_the_biases_and_the_head() -> None:
    before = loaded(BertConfig(**SMALL))
    network = BitFit().adapt(before)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert (
        trained - before.head
        == {name for name, _ in network.named_parameters() if name.endswith(".bias")} - before.head
    )
    assert before.head <= trained


def test_bitfit_finds_the_biases_of_deberta_that_have_names_of_their_own() -> None:
    network = BitFit().adapt(loaded(DebertaConfig(**SMALL)))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert "deberta.encoder.layer.0.attention.self.q_bias" in trained


def test_weights_are_decayed_but_biases_and_norms_are_not() -> None:
    from loralab.engine.optimise import _groups

    parameters = dict(Full().adapt(loaded(BertConfig(**SMALL))).named_parameters())
    groups = _groups(parameters, dict.fromkeys(parameters, 1e-3), weight_decay=0.01)
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.01]
    names = {id(parameter): name for name, parameter in parameters.items()}
    kept, decayed = ({names[id(found)] for found in group["params"]} for group in sorted(groups, key=by_decay))
    assert all("bias" in name or "LayerNorm" in name for name in kept)
    assert not [name for name in decayed if "bias" in name]
    assert kept | decayed == parameters.keys()


def test_the_factors_of_ia3_whose_neutral_value_is_one_are_not_decayed() -> None:
    from loralab.engine.optimise import _groups

    network = Peft.model_validate({"peft_type": "IA3"}).adapt(loaded(BertConfig(**SMALL)))
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    factors = {id(weight) for name, weight in trained.items() if "ia3" in name}
    assert factors
    for group in _groups(trained, dict.fromkeys(trained, 1e-3), weight_decay=0.01):
        assert not group["weight_decay"] or factors.isdisjoint(map(id, group["params"]))


def test_matrices_of_rank_1_are_decayed_like_those_of_other_ranks() -> None:
    from loralab.engine.optimise import _groups

    network = Lora(rank=1, alpha=2, targets=("attention",)).adapt(loaded(BertConfig(**SMALL)))
    matrices = {name: weight for name, weight in network.named_parameters() if "lora_" in name}
    assert matrices
    (group,) = _groups(matrices, dict.fromkeys(matrices, 1e-3), weight_decay=0.01)
    assert group["weight_decay"] == 0.01


def by_decay(group: dict[str, Any]) -> float:
    return float(group["weight_decay"])
