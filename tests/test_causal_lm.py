"""What a training step of a language model adds up, and the mistakes that an experiment with one may hold."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from architectures import load_language_model, save_language_model
from conftest import MakeExperiment, save_tokenizer
from loralab.engine.batches import Step
from loralab.engine.optimise import Optimiser
from loralab.engine.prefix import FrozenPrefix
from loralab.engine.stepping import Stepper
from loralab.errors import UserError
from loralab.inspection import inspect_arms
from loralab.plan import tuning_trials
from loralab.pretrained import load_tokenizer
from loralab.tasks import CausalLM
from loralab.tasks.examples import Windows
from loralab.tasks.windows import make_stream, scoring_windows, training_blocks
from toy_language import TEXTS, byte_tokenizer, documents, language_task, stream_of, write_corpus


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return byte_tokenizer()


# Training


def test_a_training_batch_predicts_the_next_token_everywhere_and_is_not_padded(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    blocks = training_blocks(stream_of([7, 12, 4]), 5)
    batch = language_task().collate(blocks, np.array([3, 0, 1]), tokenizer)
    assert batch.keys() == {"input_ids", "labels"}
    assert batch["input_ids"].tolist() == [list(range(start, start + 5)) for start in (15, 0, 5)]
    assert torch.equal(batch["labels"], batch["input_ids"] + 1)


def test_what_a_tokenizer_puts_before_a_text_stands_first_in_every_window(tokenizer: PreTrainedTokenizerBase) -> None:
    """As Gemma's and Llama's do; a window from the middle of a document would else lack it."""
    started = byte_tokenizer()
    started.bos_token = "!"
    first = started.bos_token_id
    started.backend_tokenizer.post_processor = TemplateProcessing(single="! $A", special_tokens=[("!", first)])
    stream = make_stream(TEXTS, started)
    assert stream.tokens[0] == first
    for windows in (training_blocks(stream, 16), scoring_windows(stream, 16, 8, "corpus")):
        everything = np.arange(len(windows))
        without = replace(windows, stream=replace(stream, start=None))
        plain, own = (language_task().collate(one, everything, tokenizer) for one in (without, windows))
        assert set(own["input_ids"][:, 0].tolist()) == {first}
        assert len(set(plain["input_ids"][:, 0].tolist())) > 1
        assert torch.equal(own["labels"], plain["labels"])
        assert torch.equal(own["input_ids"][:, 1:], plain["input_ids"][:, 1:])


def test_a_token_that_only_the_start_of_a_block_stands_before_is_not_learnt() -> None:
    blocks = training_blocks(replace(stream_of([7, 12, 4]), start=0), 5)
    assert (blocks.firsts - blocks.starts).tolist() == [1, 2, 2, 2, 2]
    assert blocks.tokens == 5 + 4 * 4


@pytest.fixture
def stepper(
    byte_models: dict[str, Path],
    tokenizer: PreTrainedTokenizerBase,
    make_experiment: MakeExperiment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[[int], tuple[Stepper, list[dict[str, torch.Tensor]]]]:
    """Makes a stepper on windows of unlike token counts, and the gradients that each of its steps is about to take."""
    windows = scoring_windows(make_stream(TEXTS, tokenizer), 16, 8, "document")
    assert len(set(windows.weights)) > 3
    trial = tuning_trials(make_experiment())[0]

    def make(micro_batch: int) -> tuple[Stepper, list[dict[str, torch.Tensor]]]:
        network = load_language_model(byte_models["gpt2"]).network.eval()  # dropout off
        taken: list[dict[str, torch.Tensor]] = []

        def keep(self: Optimiser) -> None:
            taken.append({name: weight.grad.clone() for name, weight in network.named_parameters()})
            network.zero_grad()

        monkeypatch.setattr(Optimiser, "step", keep)
        optimiser = Optimiser(network, trial, 1, "float32")
        prefix = FrozenPrefix(network, windows.lengths, tmp_path, limit=0)
        return Stepper(optimiser, language_task(), windows, tokenizer, None, micro_batch, prefix), taken

    return make


def test_accumulation_gives_the_gradient_of_the_one_large_batch_weighted_by_tokens(
    stepper: Callable[[int], tuple[Stepper, list[dict[str, torch.Tensor]]]],
) -> None:
    large, gradients = stepper(100)
    windows = large.examples
    assert isinstance(windows, Windows)
    everything = np.arange(len(windows))
    batches = (everything[:1], everything[1:6], everything[6:])
    taken = large.take(Step((everything,), 1.0, validates=False))
    network = large.optimiser.network
    batch = large.task.collate(windows, everything, large.tokenizer)
    logits = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    mean = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())  # over all tokens
    torch.autograd.backward(mean)
    expected = {name: weight.grad for name, weight in network.named_parameters()}
    assert taken.terms == windows.tokens
    assert taken.loss / taken.terms == pytest.approx(mean.item(), rel=1e-6)
    assert taken.correct is None
    for micro_batch in (100, 2):
        parts, of_parts = stepper(micro_batch)
        again = parts.take(Step(batches, 1.0, validates=False))
        assert again.terms == taken.terms
        assert again.loss == pytest.approx(taken.loss, rel=1e-6)
        for name, gradient in expected.items():
            for found in (gradients[0][name], of_parts[0][name]):
                assert torch.allclose(found, gradient, rtol=1e-4, atol=1e-6), name


# Mistakes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stride": 17}, "17 is more than block_size, 16: tokens between two windows would never be scored"),
        ({"stride": 0}, "stride"),
        ({"block_size": 1}, "block_size"),
        ({"evaluate": {"test": "a"}}, "test is a split of the corpus; call it otherwise"),
        ({"evaluate": {"a/b": "a"}}, "evaluate"),
    ],
)
def test_settings_that_do_not_fit_together_are_told(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected) as raised:
        language_task(**changes)
    assert raised.value.error_count() == 1


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), ["animal", "place"])


def inspected(
    make_experiment: MakeExperiment, model: Path, corpus: Path, method: dict[str, Any] | None = None, **changes: Any
) -> None:
    task = {"kind": "causal-lm", "data": str(corpus), "block_size": 16, **changes}
    conditions = make_experiment().conditions.model_dump() | {"model": str(model), "task": task}
    arms = {"full": {"method": method or {"kind": "full"}, "learning_rates": [1e-3]}}
    experiment = make_experiment(conditions=conditions, arms=arms, margin={})
    inspect_arms(experiment)


def test_a_block_larger_than_the_models_positions_is_told(
    make_experiment: MakeExperiment, toy_gpt2: Path, corpus: Path
) -> None:
    inspected(make_experiment, toy_gpt2, corpus, block_size=64)
    with pytest.raises(UserError, match="block_size: this model reads at most 64 tokens, not 65"):
        inspected(make_experiment, toy_gpt2, corpus, block_size=65)


def test_a_block_larger_than_the_positions_is_told_where_the_tokenizer_knows_no_limit(
    make_experiment: MakeExperiment, byte_models: dict[str, Path], corpus: Path
) -> None:
    with pytest.raises(UserError, match="block_size: this model reads at most 64 tokens, not 65"):
        inspected(make_experiment, byte_models["gpt2"], corpus, block_size=65)


def test_a_prefix_that_leaves_too_few_positions_is_told(
    make_experiment: MakeExperiment, toy_gpt2: Path, corpus: Path
) -> None:
    method = {"kind": "peft", "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5}
    inspected(make_experiment, toy_gpt2, corpus, method, block_size=59)
    expected = "num_virtual_tokens: 5 and the 60 tokens .* than the 64 positions .*; set task.block_size to 59 or less"
    with pytest.raises(UserError, match=expected):
        inspected(make_experiment, toy_gpt2, corpus, method, block_size=60)


def test_a_tokenizer_that_makes_tokens_without_an_embedding_is_told(
    make_experiment: MakeExperiment, tmp_path: Path, corpus: Path
) -> None:
    save_language_model(tmp_path, "gpt2", vocab_size=100, eos_token_id=0)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"makes token \d+ of the data or of padding, and it has 100 embeddings\n  give the model its"
    ):
        inspected(make_experiment, tmp_path, corpus)


def test_a_tokenizer_without_an_end_of_text_token_is_told(
    make_experiment: MakeExperiment, tmp_path: Path, corpus: Path
) -> None:
    save_language_model(tmp_path, "gpt2", vocab_size=257)
    lacking = byte_tokenizer()
    lacking.eos_token = None
    lacking.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)).eos_token is None
    with pytest.raises(UserError, match="its tokenizer has no end-of-text token, which stands between documents"):
        inspected(make_experiment, tmp_path, corpus)


def test_too_few_tokens_for_a_block_are_told(toy_gpt2: Path, corpus: Path) -> None:
    task = CausalLM.model_validate({"data": {"source": str(corpus), "rows": {"train": 1}}, "block_size": 64})
    with pytest.raises(UserError, match=r"block_size: train has fewer than 64 tokens; take smaller blocks$"):
        task.examples(task.read(), load_tokenizer(str(toy_gpt2)))


def test_an_encoder_is_no_language_model_whatever_its_tokenizer(
    make_experiment: MakeExperiment, toy_model: Path, tmp_path: Path, corpus: Path
) -> None:
    with pytest.raises(UserError, match=r"no end-of-text token, .*\n  take a decoder, such as GPT-2 or Llama"):
        inspected(make_experiment, toy_model, corpus)
    other = Path(shutil.copytree(toy_model, tmp_path / "model"))
    save_tokenizer(other, decoder=True)
    with pytest.raises(UserError, match="is of an architecture that has no AutoModelForCausalLM in transformers"):
        inspected(make_experiment, other, corpus)


def test_a_set_of_which_the_tokenizer_makes_no_token_is_told() -> None:
    from tokenizers import normalizers

    losing = byte_tokenizer()
    losing.backend_tokenizer.normalizer = normalizers.Replace("two", "")
    with pytest.raises(UserError, match="tokenizer makes no token of what nothing is read is scored on"):
        language_task().tokenise(documents("two", "twotwo"), losing)
