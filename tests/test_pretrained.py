import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, DistilBertConfig, GPT2Config, LlamaConfig, RobertaConfig
from transformers.utils import logging

from architectures import save_base
from loralab import pretrained
from loralab.errors import UserError

TINY = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "pad_token_id": 1,
}
PACKAGED = "package:all-MiniLM-L6-v2"


def test_loading_leaves_the_remarks_and_bars_of_transformers_as_they_were(toy_model: Path) -> None:
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    try:
        pretrained.load_tokenizer(str(toy_model))
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.INFO, True)
    finally:
        logging.set_verbosity_warning()


def test_the_packaged_model_is_the_published_one() -> None:
    folder = Path(pretrained.locate(PACKAGED))
    assert (folder / "model.safetensors").is_file()
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"] == 384


def test_a_packaged_model_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "changed_model"
    (module / "model").mkdir(parents=True)
    (module / "__init__.py").write_text("")
    (module / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    changed = pretrained.PackagedModel("changed_model", "model", "53aa", "loralab[quickstart]")
    monkeypatch.setitem(pretrained.PACKAGED, "changed", changed)
    with pytest.raises(UserError, match="is not the published changed"):
        pretrained.locate("package:changed")


def test_a_packaged_model_that_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = pretrained.PackagedModel("no_such_package", "model", "", "loralab[quickstart]")
    monkeypatch.setitem(pretrained.PACKAGED, "missing", missing)
    with pytest.raises(UserError, match=r"pip install 'loralab\[quickstart\]'"):
        pretrained.locate("package:missing")


def test_a_folder_is_made_absolute_and_a_hub_id_left_alone(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy_model.parent)
    assert pretrained.locate(toy_model.name) == str(toy_model)
    assert pretrained.locate("distilbert/distilbert-base-uncased") == "distilbert/distilbert-base-uncased"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json in the folder"):
        pretrained.locate(str(tmp_path))


def test_a_model_that_is_nowhere_says_what_to_do() -> None:
    with pytest.raises(UserError, match="can't be loaded"):
        pretrained.load_model(AutoModelForSequenceClassification, "no-such/model", "SEQ_CLS", num_labels=2)


def test_a_model_whose_configuration_was_edited_is_another_one(toy_model: Path, tmp_path: Path) -> None:
    edited = Path(shutil.copytree(toy_model, tmp_path / "edited"))
    assert pretrained.revision(str(edited)) == pretrained.revision(str(toy_model))
    config = json.loads((edited / "config.json").read_text(encoding="utf-8"))
    (edited / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.0}), encoding="utf-8")
    assert pretrained.revision(str(edited)) != pretrained.revision(str(toy_model))


def test_a_tokenizer_that_was_edited_is_another_one(toy_model: Path, tmp_path: Path) -> None:
    edited = Path(shutil.copytree(toy_model, tmp_path / "edited"))
    settings = json.loads((edited / "tokenizer_config.json").read_text(encoding="utf-8"))
    (edited / "tokenizer_config.json").write_text(json.dumps(settings | {"truncation_side": "left"}), encoding="utf-8")
    assert pretrained.revision(str(edited)) == pretrained.revision(str(toy_model))
    assert pretrained.tokenizer_revision(str(edited)) != pretrained.tokenizer_revision(str(toy_model))


def test_a_hub_model_is_told_by_its_files_and_not_by_its_commit(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit may change the model's card alone."""
    snapshot = Path(shutil.copytree(toy_model, tmp_path / "snapshots" / "4f2a"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(snapshot / "config.json"))
    assert pretrained.revision("somebody/toy") == pretrained.revision(str(toy_model))


def test_a_home_that_nobody_has_is_no_folder() -> None:
    with pytest.raises(UserError, match=r"there is no folder '~nobody-of-that-name/bert/base'"):
        pretrained.locate("~nobody-of-that-name/bert/base")


def test_the_head_is_what_the_checkpoint_lacked(toy_model: Path) -> None:
    found = pretrained.load_model(AutoModelForSequenceClassification, str(toy_model), "SEQ_CLS", num_labels=3)
    assert {name.split(".")[0] for name in found.head} == {"pre_classifier", "classifier"}
    assert len(found.head) == 4


def test_a_head_of_another_size_is_drawn_anew_and_one_that_fits_is_kept(toy_model: Path, tmp_path: Path) -> None:
    first = pretrained.load_model(AutoModelForSequenceClassification, str(toy_model), "SEQ_CLS", num_labels=3)
    first.network.save_pretrained(tmp_path)
    same = pretrained.load_model(AutoModelForSequenceClassification, str(tmp_path), "SEQ_CLS", num_labels=3)
    assert same.head == first.head
    assert torch.equal(same.network.classifier.weight, first.network.classifier.weight)
    assert (first.is_head_drawn, same.is_head_drawn) == (True, False)
    other = pretrained.load_model(AutoModelForSequenceClassification, str(tmp_path), "SEQ_CLS", num_labels=5)
    assert other.head == first.head  # a part of it fits, and is trained with the other
    assert other.is_head_drawn


def test_weights_are_loaded_in_float32_whatever_they_were_saved_in(toy_model: Path, tmp_path: Path) -> None:
    first = pretrained.load_model(AutoModelForSequenceClassification, str(toy_model), "SEQ_CLS", num_labels=3)
    first.network.to(torch.bfloat16).save_pretrained(tmp_path)
    found = pretrained.load_model(AutoModelForSequenceClassification, str(tmp_path), "SEQ_CLS", num_labels=3)
    assert {parameter.dtype for parameter in found.network.parameters()} == {torch.float32}


def load(folder: Path) -> pretrained.Loaded:
    return pretrained.load_model(AutoModelForSequenceClassification, str(folder), "SEQ_CLS", num_labels=3)


@pytest.fixture
def broken(toy_model: Path, tmp_path: Path) -> Path:
    """A copy of the toy model, to be damaged."""
    return Path(shutil.copytree(toy_model, tmp_path / "broken"))


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def change_weights(folder: Path, change: Callable[[str], str | None]) -> None:
    """Rename tensors; those without a name are left out."""
    weights = load_file(folder / "model.safetensors")
    renamed = {new: tensor for name, tensor in weights.items() if (new := change(name)) is not None}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def test_pickled_weights_are_refused_with_the_way_to_convert_them(broken: Path) -> None:
    weights = broken / "model.safetensors"
    torch.save(load_file(weights), broken / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(UserError, match=r"has only pickled weights \(\.bin\)[^$]*use_safetensors=False"):
        load(broken)


def test_a_folder_without_weights_is_refused(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        pretrained.locate(str(broken))


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_weights_that_are_cut_short_are_found_before_anything_is_loaded(broken: Path, length: int) -> None:
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or cut short"):
        pretrained.locate(str(broken))


def test_weights_that_are_something_else_are_refused(broken: Path) -> None:
    (broken / "model.safetensors").write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(UserError, match="damaged or cut short"):
        pretrained.locate(str(broken))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", r"config\.json can't be read as JSON"),
        ("[]", "names no model_type"),
        ('{"hidden_size": 16}', "names no model_type"),
    ],
)
def test_a_configuration_that_is_none_is_refused(broken: Path, content: str, expected: str) -> None:
    (broken / "config.json").write_text(content)
    with pytest.raises(UserError, match=expected):
        pretrained.locate(str(broken))


def test_a_configuration_that_isnt_text_is_refused(broken: Path) -> None:
    (broken / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="can't be read as JSON"):
        pretrained.locate(str(broken))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "newbert"}, "is of an architecture that this transformers doesn't know"),
        ({"model_type": "clip"}, "has no AutoModelForSequenceClassification in transformers"),
        ({"dim": "wide"}, "can't be loaded"),
        ({"dim": 33}, "can't be loaded"),
        ({"dim": -32}, "can't be loaded"),
        ({"n_heads": None, "n_layers": "two"}, "can't be loaded"),
        ({"vocab_size": 7}, "in other shapes than its config.json says, distilbert.embeddings.word_embeddings.weight"),
        (
            {"n_layers": 3},
            "lacks, though its config.json says, distilbert.transformer.layer.2.attention.k_lin.bias, .* more",
        ),
        ({"model_type": "roberta"}, "in other shapes than its config.json says, roberta"),
        (
            {"model_type": "newbert", "auto_map": {"AutoConfig": "code.Config"}},
            "asks to run code of its own, which loralab doesn't do",
        ),
    ],
    ids=lambda found: "-".join(map(str, found.values())) if isinstance(found, dict) else "",
)
def test_a_configuration_that_fits_no_model_or_not_these_weights_is_refused(
    broken: Path, changes: dict[str, Any], expected: str
) -> None:
    change_config(broken, **changes)
    with pytest.raises(UserError, match=expected):
        load(broken)


def test_a_checkpoint_of_another_architecture_is_refused_not_drawn_anew(broken: Path) -> None:
    change_weights(broken, lambda name: f"other.{name}")
    with pytest.raises(UserError, match="holds no weights for its architecture, distilbert"):
        load(broken)


def test_a_body_that_lacks_weights_is_refused_not_drawn_anew(broken: Path) -> None:
    change_weights(broken, lambda name: None if "layer.1.ffn" in name else name)
    with pytest.raises(UserError, match=r"lacks, though .*layer\.1\.ffn\.lin1\.bias, .* and 1 more"):
        load(broken)


def test_a_missing_pooler_is_trained_with_the_head(tmp_path: Path) -> None:
    base = save_base(tmp_path, "bert")
    change_weights(base, lambda name: None if "pooler" in name else name)
    assert {name.rpartition(".")[0] for name in load(base).head} == {"bert.pooler.dense", "classifier"}


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_folder_without_a_tokenizer_that_can_be_read_is_refused(broken: Path, content: str | None) -> None:
    (broken / "tokenizer_config.json").unlink()
    file = broken / "tokenizer.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"has no tokenizer files|can't be loaded by AutoTokenizer"):
        pretrained.load_tokenizer(str(broken))


def test_a_hub_model_with_pickled_weights_alone_says_how_to_convert_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("a/b does not appear to have a file named x and thus cannot be loaded with `safetensors`.")

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", refuse)
    with pytest.raises(UserError, match="use_safetensors=False"):
        pretrained.load_model(AutoModelForSequenceClassification, "a/b", "SEQ_CLS", num_labels=3)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DistilBertConfig(vocab_size=20, dim=8, hidden_dim=8, n_layers=1, n_heads=2, max_position_embeddings=64), 64),
        (RobertaConfig(**TINY, max_position_embeddings=66), 64),
        (GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=32), 32),
        (LlamaConfig(**TINY, max_position_embeddings=32), None),
    ],
    ids=["distilbert", "roberta", "gpt2", "llama"],
)
def test_a_table_of_positions_limits_how_many_tokens_are_read(config: Any, expected: int | None) -> None:
    """RoBERTa's numbers begin behind the padding's; Llama computes its positions."""
    assert pretrained.most_positions(AutoModelForSequenceClassification.from_config(config)) == expected
