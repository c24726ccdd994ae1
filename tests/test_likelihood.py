"""The loss in pieces: the numbers of the plain loss, without the logits of a whole batch in memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from architectures import DECODERS, load_language_model, save_language_model
from loralab.engine.setup import _checkpoint_gradients
from loralab.methods import Full, Lora, Method, Peft
from loralab.pretrained import parts_of
from loralab.tasks.likelihood import NOT_COUNTED, summed_loss, token_losses
from test_tied import CASES, METHODS

Batch = Mapping[str, torch.Tensor]
VOCABULARY = 48
WHOLE = ("all-linear", "output")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_language_model(tmp_path_factory.mktemp(name), name) for name in DECODERS}


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: save_language_model(tmp_path_factory.mktemp(name), name, tie_word_embeddings=True)
        for name in ("gpt2", "llama")
    }


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tokens in a piece, or more where the output layer is trained."""
    monkeypatch.setattr("loralab.tasks.likelihood.PIECE", 4 * VOCABULARY + 1)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Three texts of unlike lengths, of which some tokens don't count: 21 of 36 do."""
    tokens = torch.randint(4, VOCABULARY, (3, 13), generator=torch.Generator().manual_seed(0))
    lengths, skipped = torch.tensor([12, 9, 4])[:, None], torch.tensor([4, 0, 0])[:, None]
    places = torch.arange(12)
    counts = (places < lengths) & (places >= skipped)
    return {
        "input_ids": tokens[:, :-1].where(places < lengths, 3),
        "attention_mask": (places < lengths).long(),
        "labels": tokens[:, 1:].where(counts, NOT_COUNTED),
    }


def adapted(method: Method, base: Path, *, checkpointing: bool = False) -> Any:
    """The network after some training: every trained weight has moved, so that no gradient is zero."""
    loaded = load_language_model(base)
    if checkpointing:
        _checkpoint_gradients(loaded.network)
    network = method.adapt(loaded)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return network.eval()


def plain_logits(network: nn.Module, batch: Batch) -> torch.Tensor:
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    logits: torch.Tensor = network(**inputs).logits
    return logits[:, -batch["labels"].shape[1] :].float()


def plain_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    logits = plain_logits(network, batch)
    return cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum", ignore_index=NOT_COUNTED)


def gradients(
    loss: Callable[[nn.Module, Batch], torch.Tensor], network: nn.Module, batch: Batch
) -> tuple[float, dict[str, torch.Tensor | None]]:
    """The mean over the tokens that count, and its gradients."""
    network.zero_grad()
    mean = loss(network, batch) / (batch["labels"] != NOT_COUNTED).sum()
    torch.autograd.backward(mean)
    return mean.item(), {name: weight.grad for name, weight in network.named_parameters() if weight.requires_grad}


def assert_same_gradients(network: nn.Module, batch: Batch, tolerance: float = 1e-6) -> None:
    """Relative to each weight's largest gradient, or to 1 where that is smaller."""
    (found, of_found), (expected, of_expected) = (gradients(loss, network, batch) for loss in (summed_loss, plain_loss))
    assert found == pytest.approx(expected, rel=tolerance)
    assert of_found.keys() == of_expected.keys() != set()
    for name, gradient in of_expected.items():
        own = of_found[name]
        if gradient is None or own is None:  # which is as good as zero
            assert not any(one is not None and one.any() for one in (own, gradient)), name
        else:
            assert (own - gradient).abs().max() <= tolerance * max(1.0, float(gradient.abs().max())), name


def test_the_batch_is_one_with_padding_and_tokens_that_do_not_count(batch: Batch) -> None:
    assert int((batch["labels"] != NOT_COUNTED).sum()) == 21


# Loss and gradients


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("architecture", [name for name in DECODERS if name != "gemma2"])
@pytest.mark.parametrize(
    "method",
    [
        Full(),
        Lora(rank=2, alpha=4, targets=WHOLE),
        Lora(rank=2, alpha=4, targets=("output",), bias="all"),
        Lora(rank=2, alpha=4, targets=("attention",)),
    ],
    ids=["full", "lora everywhere", "lora on the output", "lora on attention"],
)
def test_loss_and_gradients_are_those_of_the_plain_loss(
    bases: dict[str, Path], batch: Batch, architecture: str, method: Method
) -> None:
    network = adapted(method, bases[architecture])
    assert parts_of(network) is not None  # so that it is the loss in pieces
    assert_same_gradients(network, batch)


def test_logits_that_are_bent_are_left_to_the_model(bases: dict[str, Path], batch: Batch) -> None:
    """Gemma 2 bends them; so does a Gemma 3 whose configuration says so."""
    assert parts_of(adapted(Full(), bases["gemma2"])) is None
    network = adapted(Full(), bases["gemma3_text"])
    network.config.final_logit_softcapping = 0.5
    assert parts_of(network) is None
    assert_same_gradients(network, batch)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("method", "architecture"), CASES)
def test_whatever_trains_a_tied_model_gets_the_plain_gradients(
    tied: dict[str, Path], batch: Batch, method: str, architecture: str
) -> None:
    """The tied weight's gradient has two parts, from the embedding and from the output."""
    assert_same_gradients(adapted(METHODS[method][0], tied[architecture]), batch)


@pytest.mark.usefixtures("small_pieces")
def test_an_output_may_keep_weights_that_it_does_not_use(tied: dict[str, Path], batch: Batch) -> None:
    method = Peft.model_validate({"peft_type": "TINYLORA", "targets": ["attention", "output"]})
    assert_same_gradients(adapted(method, tied["llama"]), batch)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_on_a_whole_block_it_is_the_loss_that_transformers_gives(
    tied: dict[str, Path], batch: Batch, architecture: str
) -> None:
    network = adapted(Full(), tied[architecture])
    tokens = torch.cat([batch["input_ids"][:, :1], batch["input_ids"]], dim=1)
    block = {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}
    expected = network(input_ids=tokens, labels=tokens).loss
    found = summed_loss(network, block) / block["labels"].numel()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("piece", [1, 4 * VOCABULARY, 2**24])
def test_it_does_not_matter_how_many_tokens_are_in_a_piece(
    tied: dict[str, Path], batch: Batch, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained output layer takes as many logits at once as it has weights: there are tokens for several pieces."""
    monkeypatch.setattr("loralab.tasks.likelihood.PIECE", piece)
    long = {name: tensor.repeat(4, 1) for name, tensor in batch.items()}
    for method in (Full(), Lora(rank=2, alpha=4, targets=("output",))):
        assert_same_gradients(adapted(method, tied["gpt2"]), long)


@pytest.mark.usefixtures("small_pieces")
def test_dropout_before_an_adapted_output_is_drawn_once(tied: dict[str, Path]) -> None:
    """One block, all of it counted, so that the plain loss draws the same numbers from the same seed."""
    method = Lora(rank=2, alpha=4, targets=("output",), dropout=0.5)
    network = adapted(method, tied["llama"]).train()
    tokens = torch.arange(4, 44).reshape(1, 40)
    block = {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}
    found = []
    for loss in (summed_loss, plain_loss):
        torch.manual_seed(3)
        found.append(gradients(loss, network, block))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for name, gradient in found[1][1].items():
        own = found[0][1][name]
        assert own is not None
        assert gradient is not None
        assert torch.allclose(own, gradient, atol=1e-6), name


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("method", [Full(), Lora(rank=2, alpha=4, targets=WHOLE)], ids=["full", "lora"])
def test_in_half_precision_the_gradients_are_float32_and_nearly_the_plain_ones(
    tied: dict[str, Path], batch: Batch, method: Method
) -> None:
    network = adapted(method, tied["gpt2"])
    found = []
    for loss in (summed_loss, plain_loss):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            mean = loss(network, batch) / 21
        assert mean.dtype == torch.float32
        torch.autograd.backward(mean)
        found.append((mean.item(), {name: w.grad for name, w in network.named_parameters() if w.requires_grad}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)
    for name, gradient in found[1][1].items():
        own = found[0][1][name]
        assert own is not None
        assert own.dtype == torch.float32
        assert (own - gradient).norm() <= 0.02 * gradient.norm() + 1e-6, name


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("method", [Full(), Lora(rank=2, alpha=4, targets=WHOLE)], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_gradient_checkpointing_changes_no_gradient(
    tmp_path: Path, batch: Batch, architecture: str, method: Method
) -> None:
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if architecture == "gpt2" else {}
    base = save_language_model(tmp_path, architecture, **dropout)
    plain, saving = (adapted(method, base, checkpointing=on).train() for on in (False, True))
    assert any(getattr(module, "gradient_checkpointing", False) for module in saving.modules())
    (_, expected), (_, found) = (gradients(summed_loss, network, batch) for network in (plain, saving))
    for name, gradient in expected.items():
        own = found[name]
        assert gradient is not None
        assert own is not None
        assert torch.allclose(own, gradient, atol=1e-6), name


# Each token's loss


def assert_same_token_losses(network: nn.Module, batch: Batch) -> None:
    counts = batch["labels"] != NOT_COUNTED
    with torch.inference_mode():
        found = token_losses(network, batch)
        logits = plain_logits(network, batch)
    assert found.shape == (*counts.shape, 2)
    assert found.dtype == torch.float32
    expected = -logits.log_softmax(dim=-1).gather(-1, batch["labels"].clamp(min=0)[..., None])[..., 0]
    likeliest = logits.argmax(dim=-1) == batch["labels"]
    assert torch.allclose(found[..., 0][counts], expected[counts], rtol=1e-5, atol=1e-5)
    assert torch.equal(found[..., 1][counts].bool(), likeliest[counts])
    assert not found[~counts].any()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("architecture", DECODERS)
def test_each_tokens_loss_is_that_of_the_plain_logits(bases: dict[str, Path], batch: Batch, architecture: str) -> None:
    network = adapted(Lora(rank=2, alpha=4, targets=WHOLE), bases[architecture])
    likely = plain_logits(network, batch).argmax(dim=-1)
    some = batch["labels"].where(torch.arange(12) % 2 == 0, likely).where(batch["labels"] != NOT_COUNTED, NOT_COUNTED)
    assert_same_token_losses(network, {**batch, "labels": some})


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("method", "architecture"), CASES)
def test_each_tokens_loss_is_that_of_the_plain_logits_whatever_was_trained(
    tied: dict[str, Path], batch: Batch, method: str, architecture: str
) -> None:
    assert_same_token_losses(adapted(METHODS[method][0], tied[architecture]), batch)


# Memory

MEASURE = """
import json, os, torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel
from loralab.memory import LinuxPeak, keep_few_kernels, peak_memory, release_memory
from loralab.tasks.likelihood import summed_loss, token_losses

keep_few_kernels()
def pieces(network, batch):
    summed_loss(network, batch).backward()

def plain(network, batch):
    network(input_ids=batch["input_ids"], labels=batch["labels"]).loss.backward()

def scored_in_pieces(network, batch):
    with torch.inference_mode():
        token_losses(network, batch)

def scored_plainly(network, batch):
    with torch.inference_mode():
        logits = network(input_ids=batch["input_ids"]).logits.flatten(0, 1)
        cross_entropy(logits, batch["labels"].flatten(), reduction="none")

def batch(texts):
    tokens = torch.randint(0, 50_257, (texts, 351))
    return {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}

def measure(work):
    peak = peak_memory(torch.device("cpu"))
    if not isinstance(peak, LinuxPeak):
        return None
    network = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=512))
    work(network, {name: tensor[:, :8] for name, tensor in batch(1).items()})  # gradients, kernels
    whole = batch(4)
    release_memory()
    peak.start_over()
    before = peak.peak()
    work(network, whole)
    return peak.peak() - before

for work in (pieces, plain, scored_in_pieces, scored_plainly):
    if not os.fork():  # a process that has computed nothing so far
        print(json.dumps([work.__name__, measure(work)]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def peaks() -> dict[str, int | None]:
    """Bytes that each takes at its peak on 1,400 tokens and a vocabulary of 50,257, in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("this system can't fork a process")
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize(("pieces", "plain"), [("pieces", "plain"), ("scored_in_pieces", "scored_plainly")])
def test_in_pieces_it_takes_less_than_a_third_of_the_plain_losss_memory(
    peaks: dict[str, int | None], pieces: str, plain: str
) -> None:
    own, usual = peaks[pieces], peaks[plain]
    if own is None or usual is None:
        pytest.skip("the kernel keeps no mark of the peak that can be reset")
    assert usual > 1_400 * 50_257 * 4  # one copy of the logits at least, so that the mark was taken
    assert own < usual / 3
