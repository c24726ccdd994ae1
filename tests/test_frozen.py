"""Frozen weights are rounded once for training, to the bits that autocast would round them to, and come back whole."""

from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from conftest import MakeExperiment
from loralab.engine.frozen import frozen_weights_light
from loralab.experiment import Trial
from loralab.memory import NoRoomError, in_parts_that_fit
from loralab.methods import Full, Lora, Method
from loralab.plan import certain_trials
from loralab.pretrained import Loaded
from loralab.train import carry_out

pytestmark = pytest.mark.usefixtures("accelerate_anew")
LORA = Lora(rank=2, alpha=4, targets=("attention",))


def adapted(method: Method) -> Any:
    torch.manual_seed(0)
    network = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    return method.adapt(Loaded(network, frozenset(), "CAUSAL_LM"))


def test_frozen_matrices_are_light_inside_and_what_is_looked_up_or_trained_is_not() -> None:
    network = adapted(LORA)
    before = {name: weight.clone() for name, weight in network.named_parameters(remove_duplicate=False)}
    with frozen_weights_light(network, LORA, "bfloat16", lambda: adapted(LORA)):
        model = network.get_base_model()
        assert model.transformer.h[0].mlp.c_fc.weight.dtype == torch.bfloat16
        assert model.lm_head.weight.dtype == torch.bfloat16
        assert model.transformer.wte.weight.dtype == torch.float32
        assert {weight.dtype for weight in network.parameters() if weight.requires_grad} == {torch.float32}
    after = dict(network.named_parameters(remove_duplicate=False))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize("name", ["transformer.h.0.mlp.c_fc", "lm_head"])
def test_a_frozen_weight_that_moved_is_not_hidden_from_its_check(name: str) -> None:
    network = adapted(LORA)
    with frozen_weights_light(network, LORA, "bfloat16", lambda: adapted(LORA)), torch.no_grad():
        network.get_base_model().get_submodule(name).weight[0, 0] += 1
    found = network.get_base_model().get_submodule(name).weight
    assert found.dtype == torch.float32
    assert not torch.equal(found, adapted(LORA).get_base_model().get_submodule(name).weight)


def test_what_was_trained_meanwhile_stays() -> None:
    network = adapted(LORA)
    with frozen_weights_light(network, LORA, "bfloat16", lambda: adapted(LORA)), torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.fill_(0.5)
    assert all(bool((weight == 0.5).all()) for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("method", "precision"),
    [(LORA, "float32"), (Full(), "bfloat16"), (Lora(rank=2, alpha=4, dora=True), "bfloat16")],
)
def test_nothing_is_rounded_where_training_would_see_it(method: Method, precision: str) -> None:
    network = adapted(method)
    with frozen_weights_light(network, method, precision, lambda: pytest.fail("nothing is to be built anew")):
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_where_there_is_no_room_for_the_whole_weights_smaller_batches_are_not_tried() -> None:
    """They would train again, and meet the same end."""
    tried = []

    def no_room() -> NoReturn:
        raise MemoryError

    def work(size: int) -> None:
        tried.append(size)
        with frozen_weights_light(adapted(LORA), LORA, "bfloat16", no_room):
            pass

    with pytest.raises(NoRoomError, match="training fitted"):
        in_parts_that_fit(8, work)
    assert tried == [8]


def trial(make: MakeExperiment, arm: str) -> Trial:
    conditions = make().conditions.model_dump() | {"precision": "bfloat16", "epochs": None, "steps": 6}
    trials = certain_trials(make(conditions=conditions))
    return next(one for one in trials if one.arm == arm and one.stage == "final")


@pytest.mark.parametrize("arm", ["lora", "head-only"])
def test_training_gives_the_same_numbers_bit_for_bit(
    arm: str, make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trial(make_experiment, arm)
    light = carry_out(found, tmp_path / "light", lambda _: None, 8)
    monkeypatch.setattr("loralab.engine.frozen._multiplies_alone", lambda _: False)
    plain = carry_out(deepcopy(found), tmp_path / "plain", lambda _: None, 8)
    assert light.curve == plain.curve
    assert (light.scores, light.probe) == (plain.scores, plain.probe)
    assert [check for check in light.checks if not check.passed] == []
