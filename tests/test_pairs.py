"""A text may be a pair: tokenised as its model expects, cut to fit, padded, trained on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import FILLERS, WORDS, sentences, toy_file, write_jsonl
from loralab.data.rows import Rows
from loralab.data.sources import Data
from loralab.files import parse_experiment
from loralab.plan import tuning_trials
from loralab.tasks.classification import Classification
from loralab.tasks.examples import Texts
from loralab.train import carry_out

PAIRS = Rows(ids=("a", "b"), texts=(("the cat", "the red river"), ("snow", "rain of the")), labels=(0, 1))


def pair_tokenizer(*, has_separator: bool = True, types: bool = True) -> Any:
    """A word-level tokenizer that joins pairs as BERT's does, or one that knows no pairs, as decoders' do."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *FILLERS, *(word for group in WORDS.values() for word in group)]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"sep_token": "[SEP]", "cls_token": "[CLS]"} if has_separator else {}
    if has_separator:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    names = ["input_ids", "token_type_ids", "attention_mask"] if types else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=64,
        model_input_names=names,
        **special,
    )


def task(max_length: int = 16) -> Classification:
    return Classification(data=Data(source="rows.csv", text=("premise", "hypothesis")), max_length=max_length)


def cut(examples: Texts, column: Any) -> list[list[int]]:
    """Return a column of all tokens, text by text."""
    bounds = zip(examples.starts, examples.starts + examples.lengths, strict=True)
    return [column[start:end].tolist() for start, end in bounds]


def test_pairs_tokenised_one_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = pair_tokenizer()
    at_once = task(max_length=6).tokenise(PAIRS, tokenizer)
    assert at_once.truncated == 2
    monkeypatch.setattr("loralab.tasks.encoding.AT_ONCE", 1)
    one_by_one = task(max_length=6).tokenise(PAIRS, tokenizer)
    assert cut(one_by_one, one_by_one.stream) == cut(at_once, at_once.stream)
    assert cut(one_by_one, one_by_one.types) == cut(at_once, at_once.types)
    assert one_by_one.truncated == 2


def test_a_pair_is_tokenised_as_its_tokenizer_joins_pairs() -> None:
    tokenizer = pair_tokenizer()
    examples = task().tokenise(PAIRS, tokenizer)
    assert tokenizer.decode(cut(examples, examples.stream)[0]) == "[CLS] the cat [SEP] the red river [SEP]"
    assert cut(examples, examples.types) == [[0] * 4 + [1] * 4, [0] * 3 + [1] * 4]


def test_types_that_are_all_zero_are_left_to_the_model() -> None:
    single = Rows(ids=("a",), texts=("the cat",), labels=(0,))
    assert task().tokenise(single, pair_tokenizer()).types is None
    assert task().tokenise(PAIRS, pair_tokenizer(types=False)).types is None


def test_a_pair_is_cut_to_the_length_and_counted() -> None:
    examples = task(max_length=7).tokenise(PAIRS, pair_tokenizer())
    assert [len(tokens) for tokens in cut(examples, examples.stream)] == [7, 7]
    assert cut(examples, examples.types) == [[0] * 4 + [1] * 3, [0] * 3 + [1] * 4]
    assert examples.truncated == 1


def test_a_decoder_gets_a_line_break_between_the_texts() -> None:
    tokenizer = pair_tokenizer(has_separator=False)
    examples = task().tokenise(PAIRS, tokenizer)
    assert cut(examples, examples.stream) == [
        tokenizer("the cat\nthe red river")["input_ids"],
        tokenizer("snow\nrain of the")["input_ids"],
    ]


def test_a_text_of_which_the_tokenizer_leaves_nothing_still_has_a_token() -> None:
    tokenizer = pair_tokenizer(has_separator=False)
    assert tokenizer("\x01")["input_ids"] == []
    examples = task().tokenise(Rows(("a", "b"), ("\x01", "the cat"), (0, 1)), tokenizer)
    assert cut(examples, examples.stream)[0] == [tokenizer.unk_token_id]
    batch = task().collate(examples, [0, 1], tokenizer)
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("pair-model")
    tokenizer = pair_tokenizer()
    tokenizer.save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    wide = {"initializer_range": 0.5}  # wide enough for an input to matter before any training
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **small, **wide)).save_pretrained(
        folder
    )
    return folder


def test_the_model_sees_which_text_a_token_is_of_whatever_the_padding(pair_model: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    tokenizer = pair_tokenizer()
    network = AutoModelForSequenceClassification.from_pretrained(pair_model).eval()
    examples = task().tokenise(PAIRS, tokenizer)
    both = task().collate(examples, [0, 1], tokenizer)
    assert both["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 0]]
    with torch.inference_mode():
        found = task().outputs(network, both)
        alone = task().outputs(network, task().collate(examples, [1], tokenizer))
        blind = task().outputs(network, {name: both[name] for name in ("input_ids", "attention_mask")})
    assert torch.allclose(found[1], alone[0], atol=1e-5)
    assert not torch.allclose(found, blind, atol=1e-4)


def test_a_trial_learns_from_pairs(pair_model: Path, tmp_path: Path) -> None:
    rows = sentences(["animal", "place"], 80, seed=1)
    pairs = [
        {"premise": one["text"], "hypothesis": other["text"], "label": one["label"] == other["label"]}
        for one, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    pairs += [{"premise": row["text"], "hypothesis": row["text"], "label": True} for row in rows[:40]]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    file = toy_file(pair_model, tmp_path / "pairs.jsonl")
    file["conditions"]["task"]["data"] = {
        "source": str(tmp_path / "pairs.jsonl"),
        "text": ["premise", "hypothesis"],
    }
    found = carry_out(tuning_trials(parse_experiment(file, "pairs.yaml"))[0], tmp_path, lambda _: None, 8)
    assert found.data.label_names == ("false", "true")
    assert (found.data.shared, found.data.dropped, found.data.without_text) == (0, 0, {})
    assert found.data.rows == {"train": 77, "validation": 19, "test": 24}
    assert found.curve[-1].training_loss < found.curve[0].training_loss
