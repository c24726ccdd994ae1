"""Every architecture gives in the engine what it gives outside, also those that take no attention from elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES, OWN_ATTENTION_ONLY, TASK, batch, load, logits, save_base
from loralab.engine import attention
from loralab.engine.attention import NAME, attention_in_pieces
from loralab.engine.casts import inputs_cast_once
from loralab.engine.dropout import speed_up_dropout

CPU = torch.device("cpu")


def gradients(network: Any, texts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    network.eval()  # dropout off
    network.zero_grad()
    torch.autograd.backward(TASK.loss(network, texts).loss)
    return {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_logits_and_gradients_are_the_same_and_nothing_is_left_behind(
    model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "pays", lambda *_: True)  # even where PyTorch's own is faster
    base = save_base(tmp_path / model_type, model_type)
    network, texts = load(base).network, batch(base)
    kind = network.config._attn_implementation
    expected, expected_gradients = logits(network, texts), gradients(network, texts)
    with attention_in_pieces(network, CPU), inputs_cast_once(network, CPU):
        assert (network.config._attn_implementation == NAME) is (model_type not in OWN_ATTENTION_ONLY)
        found, found_gradients = logits(network, texts), gradients(network, texts)
    assert network.config._attn_implementation == kind
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found_gradients.keys() == expected_gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected_gradients.values())
    for name, gradient in found_gradients.items():  # a bias of the keys has none but rounding's
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5 * largest, msg=name)
    saved = tmp_path / "saved"
    network.save_pretrained(saved)
    assert NAME not in (saved / "config.json").read_text()


@pytest.mark.parametrize("model_type", [name for name in ARCHITECTURES if name != "deberta"])  # no autocast (5.23)
def test_inputs_that_are_rounded_once_give_the_same_as_those_that_autocast_rounds(
    model_type: str, tmp_path: Path
) -> None:
    base = save_base(tmp_path / model_type, model_type)
    network, texts = load(base).network.eval(), batch(base)

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return TASK.loss(network, texts).loss

    expected = loss()
    with inputs_cast_once(network, CPU):
        assert torch.equal(loss(), expected)


def test_a_layer_that_multiplies_nothing_gets_its_input_as_it_is() -> None:
    """As a LayerNorm that PEFT trains, which it wraps."""
    seen: list[torch.dtype] = []
    wrapping = nn.Module()
    wrapping.base_layer = nn.LayerNorm(2)
    wrapping.forward = lambda x: seen.append(x.dtype)
    with inputs_cast_once(wrapping, CPU), torch.autocast("cpu", torch.bfloat16):
        wrapping(torch.ones(1, 2))
    assert seen == [torch.float32]


@pytest.mark.parametrize("model_type", ["distilbert", "deberta-v2", "gpt2", "llama"])
def test_training_with_all_of_it_learns(model_type: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / model_type, model_type)
    network, texts = load(base).network, batch(base)
    speed_up_dropout(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    network.train()
    losses = []
    with attention_in_pieces(network, CPU), inputs_cast_once(network, CPU):
        for _ in range(30):
            with torch.autocast("cpu", torch.bfloat16):
                loss = TASK.loss(network, texts).loss
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
