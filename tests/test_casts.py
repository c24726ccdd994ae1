"""Layers that read one tensor share what it is rounded to, and nothing else is shared."""

from typing import Any

import pytest
import torch
from torch import nn

from loralab.engine.casts import inputs_cast_once

CPU = torch.device("cpu")


class Attention(nn.Module):
    """Three layers that read the same, and one that reads it changed."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.layers = [nn.Linear(4, 4) for _ in range(4)]
        self.all = nn.ModuleList(self.layers)
        self.change = change

    def forward(self, x: torch.Tensor) -> Any:
        x = x * 1
        first = [layer(x) for layer in self.layers[:3]]
        with torch.no_grad():
            x = x.add_(1) if self.change == "in place" else x + 1
        return [*first, self.layers[3](x)]


@pytest.mark.parametrize("change", ["in place", "anew"])
def test_outputs_are_those_without_it(change: str) -> None:
    torch.manual_seed(0)
    network, x = Attention(change), torch.randn(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(x)
        with inputs_cast_once(network, CPU):
            found = network(x)
    assert all(
        one.dtype == torch.bfloat16 and torch.equal(one, other) for one, other in zip(found, expected, strict=True)
    )


def test_layers_that_read_the_same_are_given_one_copy() -> None:
    network = Attention("anew")
    given: list[int] = []
    with torch.autocast("cpu", torch.bfloat16), inputs_cast_once(network, CPU):
        for layer in network.layers:
            layer.register_forward_pre_hook(lambda _, inputs: given.append(id(inputs[0])))
        network(torch.randn(2, 4))
    assert given[0] == given[1] == given[2] != given[3]


def test_gradients_come_back_in_float32_and_nothing_is_left_behind() -> None:
    network, x = Attention("anew"), torch.randn(2, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), inputs_cast_once(network, CPU):
        torch.autograd.backward(torch.cat(network(x)[:3]).float().sum())
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    expected = torch.cat([layer.weight.detach() for layer in network.layers[:3]]).sum(dim=0)
    torch.testing.assert_close(x.grad, expected.expand(2, 4), rtol=0.02, atol=0.02)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_without_autocast_nothing_is_rounded() -> None:
    network, x = Attention("anew"), torch.randn(2, 4)
    with inputs_cast_once(network, CPU):
        assert all(one.dtype == torch.float32 for one in network(x))
