"""What makes the loop fast changes nothing of what is learnt: its losses are those of a plain loop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from transformers import get_scheduler

from conftest import MakeExperiment, save_model
from loralab.engine import attention
from loralab.engine.batches import training_steps
from loralab.engine.stepping import Stepper
from loralab.experiment import Trial
from loralab.methods import Untouched
from loralab.plan import tuning_trials
from loralab.pretrained import load_tokenizer
from loralab.tasks.classification import Classification
from loralab.train import carry_out

STEPS = 50


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without dropout."""
    return save_model(tmp_path_factory.mktemp("no-dropout"), attention_dropout=0.0, seq_classif_dropout=0.0)


def trial_of(arm: str, model: Path, make: MakeExperiment) -> Trial:
    conditions = make().conditions.model_dump() | {"model": str(model), "epochs": None, "steps": STEPS}
    return next(trial for trial in tuning_trials(make(conditions=conditions)) if trial.arm == arm)


def our_losses(trial: Trial, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    losses: list[float] = []
    take = Stepper.take

    def noting(self: Stepper, step: Any) -> Any:
        taken = take(self, step)
        losses.append(taken.loss / taken.terms)
        return taken

    monkeypatch.setattr(Stepper, "take", noting)
    carry_out(trial, folder, lambda progress: None, trial.conditions.batch_size)
    return losses


def plain_losses(trial: Trial) -> list[float]:
    """Train as a textbook does, with transformers, PEFT and torch alone, on the same batches."""
    conditions = trial.conditions
    task = conditions.task
    assert isinstance(task, Classification)
    assert not isinstance(trial.method, Untouched)
    assert trial.learning_rate is not None
    data, tokenizer = task.read(), load_tokenizer(conditions.model)
    set_seed(trial.seed)
    network: Any = trial.method.adapt(task.load(conditions.model, tokenizer, data)).train()
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": conditions.weight_decay},
        {"params": [weight for weight in trained if weight.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=trial.learning_rate)
    schedule = get_scheduler("linear", optimizer, round(conditions.warmup * STEPS), STEPS)
    lengths = task.tokenise(data.train, tokenizer).lengths
    losses = []
    for step in training_steps(lengths, conditions, trial.seed):
        (rows,) = step.batches
        texts = [str(data.train.texts[row]) for row in rows]
        batch = tokenizer(texts, truncation=True, max_length=task.max_length, padding=True, return_tensors="pt")
        logits = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = cross_entropy(logits, torch.tensor([data.train.labels[row] for row in rows]))
        torch.autograd.backward(loss)
        clip_grad_norm_(trained, conditions.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("arm", ["full", "lora", "head-only"])
@pytest.mark.parametrize("whose", ["our attention", "PyTorch's attention"])
def test_the_first_fifty_losses_are_those_of_a_plain_loop(
    arm: str, whose: str, model: Path, make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "pays", lambda *_: whose == "our attention")
    trial = trial_of(arm, model, make_experiment)
    ours, plain = our_losses(trial, tmp_path, monkeypatch), plain_losses(trial)
    assert len(ours) == STEPS
    assert plain[-1] < (0.8 if arm != "head-only" else 1) * plain[0]
    np.testing.assert_allclose(ours, plain, rtol=1e-4)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("accelerate_anew", "threads")
def test_the_same_seed_gives_the_same_losses_bit_for_bit_with_dropout_in_bfloat16(
    make_experiment: MakeExperiment, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dropping = save_model(tmp_path_factory.mktemp("dropout"), dropout=0.1)
    trial = trial_of("lora", dropping, make_experiment)
    conditions = trial.conditions.model_copy(update={"precision": "bfloat16", "steps": 8})
    trial = trial.model_copy(update={"conditions": conditions})
    first, again = (carry_out(trial, tmp_path / name, lambda progress: None, 8) for name in ("first", "again"))
    assert first.curve == again.curve
    other = carry_out(trial.model_copy(update={"seed": 5}), tmp_path / "other", lambda progress: None, 8)
    assert first.curve != other.curve
