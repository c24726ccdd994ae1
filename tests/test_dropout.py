"""Fast dropout drops at the rate asked for, keeps the mean, and repeats itself exactly when told, never otherwise."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from loralab.engine.dropout import Drops, FastDropout, speed_up_dropout

MANY = 400_000


@given(st.floats(0.01, 0.9))
@settings(max_examples=20, deadline=None)
def test_the_rate_is_kept_within_a_512th_and_the_mean_exactly(rate: float) -> None:
    torch.manual_seed(0)
    found = FastDropout(rate)(torch.ones(MANY))
    dropped = float((found == 0).float().mean())
    noise = 4 * (rate * (1 - rate) / MANY) ** 0.5
    assert abs(dropped - rate) < 1 / 512 + noise
    assert abs(float(found.mean()) - 1) < noise / (1 - rate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_is_scaled_and_its_gradient_with_it(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.randn(1001, dtype=dtype, requires_grad=True)
    found = FastDropout(0.5)(values)
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert found.dtype == gradient.dtype == dtype
    assert set(gradient.tolist()) == {0.0, 2.0}
    assert torch.equal(found, values * gradient)


def test_layers_and_steps_draw_apart_from_each_other() -> None:
    torch.manual_seed(0)
    layers = [FastDropout(0.5), FastDropout(0.5)]
    masks = [layer(torch.ones(MANY)) for _ in range(2) for layer in layers]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            both = float(((one > 0) & (other > 0)).float().mean())
            assert abs(both - 0.25) < 4 * (0.25 * 0.75 / MANY) ** 0.5


def test_the_same_seed_draws_the_same_and_a_state_put_back_goes_on_the_same() -> None:
    layer = FastDropout(0.3)
    torch.manual_seed(5)
    first, state, second = layer(torch.ones(1000)), torch.get_rng_state(), layer(torch.ones(1000))
    torch.manual_seed(5)
    assert torch.equal(layer(torch.ones(1000)), first)
    torch.set_rng_state(state)
    assert torch.equal(layer(torch.ones(1000)), second)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_and_everything_can_be_dropped(rate: float) -> None:
    assert torch.equal(FastDropout(rate)(torch.ones(10)), torch.full((10,), 1 - rate))


def test_evaluation_drops_nothing() -> None:
    assert torch.equal(FastDropout(0.5).eval()(torch.ones(10)), torch.ones(10))


def test_every_dropout_of_a_network_is_fast_afterwards_and_stays_in_its_mode() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.1)), nn.Dropout(0.2).eval())
    weights = deepcopy(network.state_dict())
    speed_up_dropout(network)
    found = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    assert [(type(one), one.p, one.training) for one in found] == [(FastDropout, 0.1, True), (FastDropout, 0.2, False)]
    assert network.state_dict().keys() == weights.keys()


def test_a_stream_of_masks_is_the_same_when_begun_again_and_moves_on_in_between() -> None:
    drops = Drops(0.5, seed=1)
    masks = drops.masks()
    first, second = masks.next((3, 5), torch.float32), masks.next((4, 4), torch.float32)
    again = drops.masks()
    assert torch.equal(again.next((3, 5), torch.float32), first)
    assert torch.equal(again.next((4, 4), torch.float32), second)
    assert not torch.equal(first.flatten(), second.flatten()[:15])
