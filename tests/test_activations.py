from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers.activations import FastGELUActivation, NewGELUActivation

from loralab.engine.activations import fuse_activations


@pytest.mark.parametrize("written_out", [NewGELUActivation, FastGELUActivation])
def test_a_fused_activation_gives_the_same_values_and_gradients(written_out: Callable[[], nn.Module]) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"act": written_out()}))
    inner = network[1]
    assert isinstance(inner, nn.ModuleDict)
    expected = inner["act"]
    fuse_activations(network)
    assert type(inner["act"]) is nn.GELU
    values = torch.linspace(-8, 8, 1001).requires_grad_()
    torch.testing.assert_close(inner["act"](values), expected(values), rtol=1e-5, atol=1e-5)
    gradients = (torch.autograd.grad(one(values).sum(), values)[0] for one in (inner["act"], expected))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_an_exact_gelu_stays_as_it_is() -> None:
    network = nn.Sequential(nn.GELU())
    fuse_activations(network)
    assert network[0].approximate == "none"
