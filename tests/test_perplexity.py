"""Perplexity: every real token once, weighted by tokens, whatever the batches, with what stands before it alone."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

from architectures import DECODERS, OWN_ATTENTION_ONLY, load_language_model, save_language_model
from loralab.data.corpus import Context
from loralab.engine.attention import NAME, register
from loralab.engine.evaluation import predict
from loralab.tasks import CausalLM
from loralab.tasks.examples import NOWHERE, Windows
from loralab.tasks.items import CorpusScores, DocumentScores
from loralab.tasks.windows import make_stream, scoring_windows
from test_windows import CONTEXTS, CUTS, LENGTHS
from toy_language import TEXTS, byte_tokenizer, documents, language_task, stream_of


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return byte_tokenizer()


def network_of(base: Path, attention: str = "sdpa") -> Any:
    network = load_language_model(base).network
    register()
    network.set_attn_implementation(attention)
    return network


def scored(
    task: CausalLM, windows: Windows, network: Any, tokenizer: PreTrainedTokenizerBase, batch_size: int = 2
) -> DocumentScores:
    outputs = predict(network, task, windows, tokenizer, batch_size)
    return task.items({"test": (windows, outputs)}).sets["test"]


# Against a plain reference: one token at a time from the model's own logits, no batch, no padding


def plain_nats(network: Any, tokens: Sequence[int], window: int, stride: int) -> list[float]:
    """The negative log-likelihood of each token but the first."""
    network.eval()
    last = len(tokens) - 1
    found = []
    for place in range(1, last + 1):
        moves = max(0, math.ceil((place - window) / stride))  # of the window, until it reaches the token
        end = min(window + moves * stride, last)
        start = max(0, end - window)
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([tokens[start:end]])).logits[0, place - 1 - start].double()
        found.append(float(logits.logsumexp(dim=0) - logits[tokens[place]]))
    return found


def plain_scores(network: Any, tokenizer: Any, window: int, stride: int, context: Context) -> list[float]:
    """The nats of each of TEXTS."""
    pieces = [tokenizer(text)["input_ids"] for text in TEXTS.texts]
    if context == "document":
        return [sum(plain_nats(network, [0, *piece], window, stride)) for piece in pieces]
    stream = [token for piece in pieces for token in [0, *piece]]
    nats = [0.0, *plain_nats(network, [*stream, 0], window, stride)]
    found = []
    for piece in pieces:
        found.append(sum(nats[1 : len(piece) + 1]))
        nats = nats[len(piece) + 1 :]
    return found


@pytest.mark.parametrize("context", ["document", "corpus"])
@pytest.mark.parametrize("stride", [None, 16, 5], ids=["half a window", "a whole window", "5 tokens"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_each_documents_likelihood_is_that_of_a_plain_reference(
    byte_models: dict[str, Path],
    tokenizer: PreTrainedTokenizerBase,
    architecture: str,
    stride: int | None,
    context: Context,
) -> None:
    network, task = network_of(byte_models[architecture]), language_task(stride=stride)
    windows = scoring_windows(make_stream(TEXTS, tokenizer), 16, task.steps_of_scoring, context)
    found = scored(task, windows, network, tokenizer)
    expected = plain_scores(network, tokenizer, 16, stride or 8, context)
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert found.tokens == found.bytes == tuple(len(text.encode()) for text in TEXTS.texts)
    scores = task.scores(CorpusScores(sets={"test": found}))
    assert scores["log_perplexity"] == pytest.approx(sum(expected) / sum(found.bytes), rel=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa", NAME])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_batch_size_padding_and_attention_do_not_change_it(
    byte_models: dict[str, Path], tokenizer: PreTrainedTokenizerBase, architecture: str, attention: str
) -> None:
    task = language_task()
    windows = scoring_windows(make_stream(TEXTS, tokenizer), 16, 8, "document")
    assert len(set(windows.lengths)) > 2  # so that larger batches are padded
    alone = scored(task, windows, network_of(byte_models[architecture]), tokenizer, batch_size=1)
    for batch_size in (1, 2, 50):
        found = scored(task, windows, network_of(byte_models[architecture], attention), tokenizer, batch_size)
        assert found.nats == pytest.approx(alone.nats, rel=1e-5)
        assert (found.tokens, found.ids) == (alone.tokens, alone.ids)


def test_a_padding_token_that_the_model_has_no_embedding_for_does_no_harm(byte_models: dict[str, Path]) -> None:
    found = []
    for special in ({}, {"pad_token": "[PAD]"}):
        tokenizer = byte_tokenizer()
        tokenizer.add_special_tokens(special)
        windows = scoring_windows(make_stream(TEXTS, tokenizer), 16, 8, "document")
        found.append(scored(language_task(), windows, network_of(byte_models["gpt2"]), tokenizer))
    assert tokenizer.pad_token_id == 257
    assert found[0] == found[1]


@pytest.mark.parametrize("padded", [False, True], ids=["no mask", "padding mask"])
@pytest.mark.parametrize("attention", ["eager", "sdpa", NAME])
@pytest.mark.parametrize("architecture", [name for name in DECODERS if name not in OWN_ATTENTION_ONLY])
def test_what_stands_before_a_token_does_not_depend_on_it(
    tmp_path: Path, architecture: str, attention: str, padded: bool
) -> None:
    network = load_language_model(save_language_model(tmp_path, architecture)).network.eval()
    register()
    network.set_attn_implementation(attention)
    tokens = torch.randint(4, 48, (2, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 7] = (changed[0, 7] + 9) % 44 + 4
    mask = {"attention_mask": torch.tensor([[1] * 10 + [0] * 2, [1] * 12])} if padded else {}
    labels = torch.full((2, 12), 5)  # the same for both, so that inputs alone differ
    task = language_task()
    with torch.inference_mode():
        logits, other = (network(input_ids=own, **mask).logits for own in (tokens, changed))
        found, again = (
            task.outputs(network, {"input_ids": own, "labels": labels, **mask}) for own in (tokens, changed)
        )
    for one, two in ((logits, other), (found, again)):
        assert torch.allclose(one[0, :7], two[0, :7], atol=1e-6)
        assert torch.allclose(one[1], two[1], atol=1e-6)
        assert not torch.allclose(one[0, 7:10], two[0, 7:10], atol=1e-3)


# How documents add up


def test_documents_weigh_by_their_tokens_not_alike() -> None:
    """Averaging what documents or batches have as means would give 1.5 here."""
    few = DocumentScores(ids=("a", "b"), nats=(2.0, 99.0), tokens=(1, 99), bytes=(4, 396))
    assert language_task().scores(CorpusScores(sets={"test": few})) == pytest.approx(
        {"log_perplexity": 1.01, "bits_per_byte": 101 / 400 / math.log(2)}
    )


def test_a_model_that_knows_nothing_has_the_vocabulary_for_its_perplexity(tokenizer: PreTrainedTokenizerBase) -> None:
    """Every token costs the logarithm of 257; letters of several bytes are several tokens of this tokenizer."""
    network = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=8, n_layer=1, n_head=1, n_positions=16))
    with torch.no_grad():
        network.lm_head.weight.zero_()
    task = language_task()
    found = scored(task, scoring_windows(make_stream(TEXTS, tokenizer), 16, 8, "corpus"), network, tokenizer)
    scores = task.scores(CorpusScores(sets={"test": found}))
    assert scores["log_perplexity"] == pytest.approx(math.log(257), rel=1e-6)
    assert scores["bits_per_byte"] == pytest.approx(math.log2(257), rel=1e-6)


def test_bits_per_byte_counts_bytes_not_letters_or_tokens() -> None:
    text = documents("naïve 中文")  # 8 letters, 13 bytes
    stream = make_stream(text, byte_tokenizer())
    items = DocumentScores(ids=text.ids, nats=(13 * math.log(2) * 3,), tokens=(2,), bytes=stream.bytes)
    assert language_task().scores(CorpusScores(sets={"test": items}))["bits_per_byte"] == pytest.approx(3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(lengths=LENGTHS, cut=CUTS, context=CONTEXTS, batch_size=st.integers(1, 4))
def test_every_tokens_own_output_reaches_its_document_once(
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    lengths: Sequence[int],
    cut: tuple[int, int],
    context: Context,
    batch_size: int,
) -> None:
    """A network whose loss for a token is the token's number, of which every one is another."""

    def numbers(self: CausalLM, network: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = batch["labels"]
        assert (stream.owners[labels[labels != -100]] != NOWHERE).all()
        follows = batch["input_ids"] + 1 == labels
        assert (follows | (labels == -100)).all()
        return torch.stack([labels.where(labels != -100, 0), follows], dim=-1).float()

    stream = stream_of(lengths)
    monkeypatch.setattr(CausalLM, "outputs", numbers)
    found = scored(
        language_task(), scoring_windows(stream, *cut, context), torch.nn.Linear(1, 1), tokenizer, batch_size
    )
    for number, length in enumerate(lengths):
        own = np.flatnonzero(stream.owners == number)
        assert (found.tokens[number], found.nats[number]) == (length, sum(own))


def test_a_last_word_is_right_where_every_token_of_it_is_the_likeliest(tokenizer: PreTrainedTokenizerBase) -> None:
    text = documents("see a cat\n", "see a dog")
    stream = make_stream(text, tokenizer, last_word=True)
    windows = scoring_windows(stream, 6, 3, "document")
    task = language_task(evaluate={"passages": {"source": "nothing is read", "last_word": True}})
    test = DocumentScores(ids=("a",), nats=(1.0,), tokens=(1,), bytes=(1,))
    for missed in range(len(stream.tokens)):
        outputs = np.zeros((len(windows), 6, 2), dtype=np.float32)
        for row, start in enumerate(windows.starts):
            outputs[row, :, 1] = [start + place + 1 != missed for place in range(6)]
        items = task.items({"test": (windows, outputs), "passages": (windows, outputs)})
        found = items.sets["passages"].last_words
        assert found == tuple(
            not (begin <= missed < begin + 3)
            for begin in (7, 18)  # behind 'see a ', and its end-of-text token
        )
        scores = task.scores(CorpusScores(sets={"test": test, "passages": items.sets["passages"]}))
        assert scores["passages/last_word"] == sum(found) / 2


def test_a_last_words_tokens_are_judged_by_the_models_own_choice(
    byte_models: dict[str, Path], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Texts that end as the model goes on, and one that doesn't."""
    network = network_of(byte_models["gpt2"]).eval()
    begun = [0, *tokenizer("one two ")["input_ids"]]
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([begun])).logits[0, -1]
    letters = [number for number in logits.argsort(descending=True).tolist() if tokenizer.decode([number]).isalpha()]
    text = documents(f"one two {tokenizer.decode(letters[:1])}", f"one two {tokenizer.decode(letters[-1:])}")
    stream = make_stream(text, tokenizer, last_word=True)
    found = scored(language_task(), scoring_windows(stream, 16, 8, "document"), network, tokenizer)
    assert found.last_words == (int(logits.argmax()) == letters[0], False)
