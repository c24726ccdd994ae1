"""LoRA layers computed in one step give what PEFT's own give, gradients too, and are PEFT's own again afterwards."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from loralab.engine.adapters import adapters_in_one, adapters_merged
from loralab.engine.dropout import Drops

CPU = torch.device("cpu")
IDS = torch.arange(12).view(2, 6)


def gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=32))


def llama() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=20, num_key_value_heads=2, **sizes))


def adapted(build: Any, targets: list[str], **settings: Any) -> Any:
    torch.manual_seed(0)
    network = build().eval()
    config = LoraConfig(r=3, lora_alpha=5, target_modules=targets, task_type="CAUSAL_LM", **settings)
    network = get_peft_model(network, config)
    for name, weight in network.named_parameters():  # B begins as zero, and A without a gradient
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.02)
    return network


def taken(network: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the loss of some tokens and its gradients."""
    loss = network(input_ids=IDS, labels=IDS).loss
    return loss, list(torch.autograd.grad(loss, [w for w in network.parameters() if w.requires_grad]))


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(
    ("build", "targets"),
    [(gpt2, ["c_attn", "c_proj", "c_fc"]), (gpt2, ["lm_head"]), (llama, ["q_proj", "v_proj", "down_proj"])],
)
@pytest.mark.parametrize("rslora", [False, True])
def test_loss_and_gradients_are_those_of_peft(build: Any, targets: list[str], rslora: bool) -> None:
    network = adapted(build, targets, use_rslora=rslora)
    expected_loss, expected = taken(network)
    with adapters_in_one(network, CPU):
        loss, found = taken(network)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=0)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm()
    assert taken(network)[0].equal(expected_loss)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(("build", "targets"), [(gpt2, ["c_attn", "c_fc"]), (llama, ["q_proj", "v_proj"])])
def test_in_bfloat16_the_gradients_are_as_near_to_those_of_float32_as_pefts(build: Any, targets: list[str]) -> None:
    network = adapted(build, targets)
    _, exact = taken(network)
    with torch.autocast("cpu", torch.bfloat16):
        _, usual = taken(network)
        with adapters_in_one(network, CPU):
            _, found = taken(network)
    for one, other, true in zip(found, usual, exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - true).norm() <= max(2 * (other - true).norm(), 0.02 * true.norm())


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_on_other_devices_adapters_stay_as_peft_has_them(device: str) -> None:
    network = adapted(llama, ["q_proj"])
    with adapters_in_one(network, torch.device(device)):
        assert not any("forward" in vars(module) for module in network.modules())


def test_dropout_drops_the_same_on_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drops, "draw", lambda rate: Drops(rate, seed=3))
    network = adapted(llama, ["q_proj"], lora_dropout=0.4).double()
    layer = network.get_base_model().model.layers[0].self_attn.q_proj
    layer.train()
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(2, 3, 16, dtype=torch.double, requires_grad=True)
    with adapters_in_one(network, CPU):
        assert torch.autograd.gradcheck(lambda *_: layer(x), (x, a, b))
        assert not torch.equal(layer(x), layer.eval()(x))


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"bias": "all"}, {"lora_bias": True}])
def test_other_kinds_of_adapters_stay_as_peft_has_them(settings: dict[str, Any]) -> None:
    network = adapted(gpt2, ["c_attn"], fan_in_fan_out=True, **settings)
    with adapters_in_one(network, CPU):
        assert not any("forward" in vars(module) for module in network.modules())


def test_a_network_with_two_adapters_stays_as_peft_has_it() -> None:
    network = adapted(llama, ["q_proj"])
    network.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with adapters_in_one(network, CPU):
        assert not any("forward" in vars(module) for module in network.modules())


def test_an_adapter_that_is_switched_off_or_merged_is_followed() -> None:
    network = adapted(llama, ["q_proj"])
    whole = network(input_ids=IDS).logits
    with network.disable_adapter():
        without = network(input_ids=IDS).logits
    with adapters_in_one(network, CPU), network.disable_adapter():
        assert torch.equal(network(input_ids=IDS).logits, without)
    assert not torch.allclose(without, whole)
    network.merge_adapter()
    with adapters_in_one(network, CPU):
        torch.testing.assert_close(network(input_ids=IDS).logits, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(("build", "targets"), [(gpt2, ["c_attn", "c_fc"]), (gpt2, ["lm_head"]), (llama, ["q_proj"])])
def test_merged_for_evaluation_it_gives_the_same_and_is_bit_for_bit_what_it_was_afterwards(
    build: Any, targets: list[str]
) -> None:
    network = adapted(build, targets)
    weights = {name: weight.clone() for name, weight in network.named_parameters(remove_duplicate=False)}
    expected = network(input_ids=IDS).logits
    with adapters_merged(network), torch.inference_mode():
        found = network(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    after = dict(network.named_parameters(remove_duplicate=False))
    assert after.keys() == weights.keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in after.items())
    assert torch.equal(network(input_ids=IDS).logits, expected)
    if targets == ["lm_head"]:
        model = network.get_base_model()
        assert model.lm_head.base_layer.weight is model.transformer.wte.weight


def test_where_memory_has_no_room_for_merged_layers_they_stay_as_peft_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network = adapted(llama, ["q_proj", "v_proj"])
    expected = network(input_ids=IDS).logits
    last = network.get_base_model().model.layers[1].self_attn.v_proj

    def no_room(name: str) -> torch.Tensor:
        raise torch.OutOfMemoryError(f"no room for {name}")

    monkeypatch.setattr(last, "get_delta_weight", no_room)
    with adapters_merged(network):
        assert not any("forward" in vars(module) for module in network.modules())
        assert torch.equal(network(input_ids=IDS).logits, expected)


def test_a_layer_keeps_one_copy_of_its_input() -> None:
    kept: list[torch.Tensor] = []

    def keep(one: torch.Tensor) -> torch.Tensor:
        kept.append(one)
        return one

    network = adapted(llama, ["q_proj"], lora_dropout=0.1)
    layer = network.get_base_model().model.layers[0].self_attn.q_proj.train()
    x = torch.randn(50, 16, requires_grad=True)
    with (
        adapters_in_one(network, CPU),
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one),
    ):
        layer(x)
    assert sum(one.shape == x.shape for one in kept) == 1
