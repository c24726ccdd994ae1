import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from loralab import pretrained
from loralab.errors import UserError

PACKAGED = "package:all-MiniLM-L6-v2"


def test_the_packaged_model_is_the_published_one() -> None:
    folder = Path(pretrained.locate(PACKAGED))
    assert (folder / "model.safetensors").is_file()
    config = pretrained.read_config(PACKAGED)
    assert config is not None
    assert config["hidden_size"] == 384


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
    other = pretrained.load_model(AutoModelForSequenceClassification, str(tmp_path), "SEQ_CLS", num_labels=5)
    assert other.head == {"classifier.weight", "classifier.bias"}


def test_weights_are_loaded_in_float32_whatever_they_were_saved_in(toy_model: Path, tmp_path: Path) -> None:
    first = pretrained.load_model(AutoModelForSequenceClassification, str(toy_model), "SEQ_CLS", num_labels=3)
    first.network.to(torch.bfloat16).save_pretrained(tmp_path)
    found = pretrained.load_model(AutoModelForSequenceClassification, str(tmp_path), "SEQ_CLS", num_labels=3)
    assert {parameter.dtype for parameter in found.network.parameters()} == {torch.float32}


def test_a_pickled_checkpoint_is_refused(toy_model: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_model, tmp_path / "pickled")
    weights = tmp_path / "pickled" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(UserError, match="can't be loaded"):
        pretrained.load_model(AutoModelForSequenceClassification, str(tmp_path / "pickled"), "SEQ_CLS", num_labels=3)
