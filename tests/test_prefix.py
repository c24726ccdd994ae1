"""Frozen layers are computed once where nothing can change what they make, and training doesn't notice."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    GPT2LMHeadModel,
)

from architectures import ENCODERS, TASK, batch, load, save_base
from conftest import MakeExperiment
from loralab.engine.fast import begin_training
from loralab.engine.prefix import FrozenPrefix
from loralab.methods import Full, HeadOnly
from loralab.plan import tuning_trials
from loralab.results import Measurement
from loralab.train import carry_out

pytestmark = pytest.mark.usefixtures("accelerate_anew")
LAYERS = {"distilbert": "n_layers"}  # how a configuration calls their number, where it isn't as usual
LENGTHS = np.array([5, 3, 4, 5, 2, 5])
SMALL = {"num_labels": 2, "vocab_size": 30}


def distilbert(dropout: float = 0.0) -> Any:
    rates = {"dropout": dropout, "attention_dropout": dropout, "seq_classif_dropout": dropout}
    torch.manual_seed(0)
    config = DistilBertConfig(dim=16, hidden_dim=32, n_layers=3, n_heads=2, **rates, **SMALL)
    return AutoModelForSequenceClassification.from_config(config)


def bert() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    return AutoModelForSequenceClassification.from_config(BertConfig(**sizes, **SMALL))


def head_alone(network: Any) -> Any:
    for name, weight in network.named_parameters():
        weight.requires_grad_("classifier" in name)
    begin_training(network, HeadOnly())
    return network


def upper_lora(network: Any) -> Any:
    layers = {"layers_to_transform": [2], "layers_pattern": "layer", "target_modules": ["q_lin"]}
    return get_peft_model(network, LoraConfig(r=2, task_type="SEQ_CLS", **layers)).train()


def batch_of(texts: Any) -> dict[str, torch.Tensor]:
    tokens = torch.arange(max(LENGTHS))
    mask = tokens < torch.tensor(LENGTHS[texts])[:, None]
    ids = (torch.tensor(texts)[:, None] * 3 + tokens) % 25 + 1
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def losses(network: Any, prefix: FrozenPrefix, epochs: int = 3) -> list[float]:
    """Train, the texts in another order and company in each epoch; return the loss of every batch."""
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    found, order = [], np.random.default_rng(0)
    for _ in range(epochs):
        shuffled = order.permutation(len(LENGTHS))
        for texts in (shuffled[:4], shuffled[4:]):
            with prefix.used_for(texts, batch_of(texts)) as given:
                loss = network(**given, labels=torch.tensor(texts % 2)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.item())
    return found


def counted(layer: Any) -> list[int]:
    """Count the passes through a layer."""
    passes = [0]
    forward = layer.forward

    def counting(*given: Any, **named: Any) -> Any:
        passes[0] += 1
        return forward(*given, **named)

    layer.forward = counting
    return passes


@pytest.mark.parametrize(
    ("build", "adapt"),
    [(distilbert, head_alone), (lambda: distilbert(0.1), head_alone), (bert, head_alone), (distilbert, upper_lora)],
    ids=["DistilBERT's head", "DistilBERT's head with dropout", "BERT's head", "LoRA on the upper layer"],
)
def test_the_losses_are_those_without_it_and_the_layers_are_computed_once(
    build: Any, adapt: Any, tmp_path: Path
) -> None:
    network = adapt(build())
    passes = counted(next(module for name, module in network.named_modules() if name.endswith("layer.0")))
    torch.manual_seed(1)
    plain = losses(network, FrozenPrefix(network, LENGTHS, tmp_path, limit=0))
    assert passes == [18 + 1]  # each text alone, in each epoch; and once to find the cut
    network = adapt(build())
    passes = counted(next(module for name, module in network.named_modules() if name.endswith("layer.0")))
    torch.manual_seed(1)
    prefix = FrozenPrefix(network, LENGTHS, tmp_path, limit=10**6)
    assert losses(network, prefix) == plain
    assert passes == [6 + 1]
    assert prefix.keeps


@pytest.mark.parametrize("model_type", ENCODERS)
def test_the_head_of_every_encoder_learns_as_without_it(model_type: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / model_type, model_type, **{LAYERS.get(model_type, "num_hidden_layers"): 4})
    texts = batch(base)
    lengths = texts["attention_mask"].sum(dim=1).numpy()

    def trained(prefix: Callable[[Any], FrozenPrefix | None]) -> tuple[list[float], FrozenPrefix | None]:
        network: Any = HeadOnly().adapt(load(base))
        begin_training(network, HeadOnly())
        optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
        begun, found = prefix(network), []
        torch.manual_seed(1)
        for rows in (np.array([3, 1, 6]), np.array([0, 2]), np.array([6, 0, 1])):
            longest = lengths[rows].max()
            part = {name: one[rows, :longest] if one.ndim == 2 else one[rows] for name, one in texts.items()}
            with begun.used_for(rows, part) if begun else nullcontext(part) as given:
                loss = TASK.loss(network, given).loss
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.item())
        return found, begun

    plain, _ = trained(lambda network: None)
    kept, prefix = trained(lambda network: FrozenPrefix(network, lengths, tmp_path, limit=10**6))
    assert kept == pytest.approx(plain, rel=1e-5)
    assert prefix is not None
    assert prefix.keeps is (model_type != "albert")  # whose one layer is called again and again


def bart(encoder_layers: int, decoder_layers: int) -> Any:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "dropout": 0.0}
    layers = {"encoder_layers": encoder_layers, "decoder_layers": decoder_layers}
    config = BartConfig(**sizes, **heads, **layers, **SMALL, eos_token_id=29)
    return AutoModelForSequenceClassification.from_config(config)


def texts_with_ends() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[3, 4, 5, 29], [6, 7, 29, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def test_a_classifier_that_looks_for_the_end_of_the_text_finds_it(tmp_path: Path) -> None:
    network, ends = head_alone(bart(2, 2)), texts_with_ends()
    network.classification_head.requires_grad_()
    prefix = FrozenPrefix(network, np.array([4, 3]), tmp_path, limit=10**6)
    expected = network(**ends).logits
    for _ in range(2):
        with prefix.used_for(np.array([0, 1]), ends) as given:
            torch.testing.assert_close(network(**given).logits, expected)
    assert prefix.keeps


def test_tokens_are_not_taken_for_what_stands_behind_frozen_layers(tmp_path: Path) -> None:
    """As an encoder-decoder's second half reads them, behind a larger first half; here LoRA is on the second."""
    config = LoraConfig(r=2, target_modules=["encoder_attn.q_proj"], task_type="SEQ_CLS")
    network: Any = get_peft_model(bart(3, 1), config)
    network.train()
    ends = texts_with_ends()
    prefix = FrozenPrefix(network, np.array([4, 3]), tmp_path, limit=10**6)
    expected = network(**ends).logits
    for _ in range(2):
        with prefix.used_for(np.array([0, 1]), ends) as given:
            torch.testing.assert_close(network(**given).logits, expected)


def test_nothing_is_left_on_disk_or_on_the_network(tmp_path: Path) -> None:
    network = head_alone(distilbert())
    losses(network, FrozenPrefix(network, LENGTHS, tmp_path, limit=10**6))
    assert list(tmp_path.iterdir()) == []
    assert not any("forward" in vars(module) for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("why", ["dropout below", "all trained", "embeddings trained"])
def test_what_changes_from_step_to_step_is_computed_each_time(why: str, tmp_path: Path) -> None:
    network = distilbert(0.1 if why == "dropout below" else 0.0)
    if why == "all trained":
        begin_training(network, Full())
    elif why == "embeddings trained":
        for name, weight in network.named_parameters():
            weight.requires_grad_("word_embeddings" in name)
        network.train()
    else:
        network = upper_lora(network)
    prefix = FrozenPrefix(network, LENGTHS, tmp_path, limit=10**6)
    torch.manual_seed(1)
    losses(network, prefix)
    assert not prefix.keeps


def test_texts_that_there_is_no_room_for_are_computed(tmp_path: Path) -> None:
    network = upper_lora(distilbert())
    plain = losses(network, FrozenPrefix(network, LENGTHS, tmp_path, limit=0))
    network = upper_lora(distilbert())
    passes = counted(network.get_base_model().distilbert.transformer.layer[0])
    room_for_two = 2 * 5 * 16 * 4
    assert losses(network, FrozenPrefix(network, LENGTHS, tmp_path, limit=room_for_two)) == plain
    assert 18 - 6 <= passes[0] < 18


def test_a_disk_that_is_nearly_full_is_left_to_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = upper_lora(distilbert())
    passes = counted(network.get_base_model().distilbert.transformer.layer[0])
    monkeypatch.setattr("loralab.engine.prefix.LEFT_FREE", 2**62)
    losses(network, FrozenPrefix(network, LENGTHS, tmp_path, limit=10**6))
    assert passes[0] >= 18


def test_a_language_model_with_an_adapter_on_its_output_alone_is_computed_once(tmp_path: Path) -> None:
    from loralab.tasks.likelihood import summed_loss

    torch.manual_seed(0)
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    network: Any = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=32, **rates))
    network = get_peft_model(network, LoraConfig(r=2, target_modules=["lm_head"], task_type="CAUSAL_LM")).train()
    passes = counted(network.get_base_model().transformer.h[1])
    prefix = FrozenPrefix(network, np.array([6, 6]), tmp_path, limit=10**6)
    ids = torch.arange(12).view(2, 6)
    found = []
    for _ in range(3):
        with prefix.used_for(np.arange(2), {"input_ids": ids, "labels": ids}) as given:
            found.append(summed_loss(network, given).item())
    assert passes == [2 + 1]
    assert len(set(found)) == 1


@pytest.mark.parametrize(("epochs", "is_kept"), [(1, False), (2, True)])
def test_nothing_is_kept_of_texts_that_come_once(
    epochs: int, is_kept: bool, make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    monkeypatch.setattr("loralab.engine.prefix._find_cut", lambda *given: begun.append(given))
    arms = {"head": {"method": {"kind": "head-only"}, "learning_rates": [1e-3, 1e-2]}}
    trial = tuning_trials(make_experiment(arms=arms, baseline="head"))[0]
    conditions = trial.conditions.model_copy(update={"epochs": epochs})
    carry_out(trial.model_copy(update={"conditions": conditions}), tmp_path, lambda progress: None, 8)
    assert bool(begun) == is_kept


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_trial_gives_the_same_numbers_with_and_without_it(
    precision: str, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    arms = {"head": {"method": {"kind": "head-only"}, "learning_rates": [1e-3, 1e-2]}}
    trial = tuning_trials(make_experiment(arms=arms, baseline="head"))[0]

    def measured(frozen_cache: float) -> Measurement:
        changes = {"precision": precision, "epochs": 3, "frozen_cache": frozen_cache}
        asked = trial.model_copy(update={"conditions": trial.conditions.model_copy(update=changes)})
        return carry_out(asked, tmp_path / str(frozen_cache), lambda progress: None, 8)

    kept, plain = measured(1.0), measured(0.0)
    assert kept.curve == plain.curve
    assert kept.scores == plain.scores
