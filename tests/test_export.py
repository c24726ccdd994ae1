"""An exported model is loaded by transformers alone, answers as before, and says what it is."""

import ast
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from loralab import use
from loralab.cli import app
from loralab.errors import UserError
from loralab.methods.merging import NotMergeableError
from loralab.prediction import LabelProbabilities

RUNNER = CliRunner()
TEXT = "the cat was seen near a river"
# Nothing of loralab is imported: what a user has who knows transformers and PEFT.
ALONE = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, text = sys.argv[1:]
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    shares = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist()
print(json.dumps({model.config.id2label[place]: share for place, share in enumerate(shares)}))
"""


def expected(finished: Path, arm: str) -> dict[str, float]:
    (found,) = use.predict(finished, arm, [TEXT])
    assert isinstance(found, LabelProbabilities)
    return dict(found.probabilities)


def told_alone(folder: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", ALONE, str(folder), TEXT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(("arm", "merge"), [("full", False), ("lora", True), ("head-only", True)])
def test_transformers_alone_loads_it_and_gives_the_same_probabilities(
    finished: Path, tmp_path: Path, arm: str, merge: bool
) -> None:
    use.export(finished, arm, tmp_path / "model", merge=merge)
    assert not list((tmp_path / "model").glob("adapter*"))
    assert told_alone(tmp_path / "model") == pytest.approx(expected(finished, arm), abs=1e-5)


def test_an_adapter_stays_one_and_is_loaded_by_the_lines_of_its_card(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = use.export(finished, "lora", tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert lines is not None
    assert lines[1].strip() == exported.loading
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(lines[1], found)  # the card's own lines
    settings = json.loads((tmp_path / "model" / "adapter_config.json").read_text(encoding="utf-8"))
    assert exported.base == settings["base_model_name_or_path"]
    assert f"says where that is looked for: {exported.base}" in card.replace("\\", "")
    shares = found["model"].eval()(**found["tokenizer"](TEXT, return_tensors="pt")).logits.softmax(-1)[0].tolist()
    assert max(shares) == pytest.approx(max(expected(finished, "lora").values()), abs=1e-5)


def test_the_card_holds_the_answer_the_scores_and_the_conditions(finished: Path, tmp_path: Path) -> None:
    use.export(finished, "lora", tmp_path / "model", merge=True)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    _, metadata, text = card.split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["loralab", "lora"],
    }
    assert "Over 2 seeds and 60 test texts, full reached" in text
    assert "base_model_name_or_path" not in text  # it is whole
    for told in ("| Accuracy on test |", "- **Training**: 2 epochs", "- **Seeds**: 0, 1", "No recommendation"):
        assert told in text or (told == "No recommendation" and "Recommended:" in text)


@pytest.mark.parametrize("merge", [False, True])
def test_any_name_of_a_folder_stands_in_the_lines_that_load_it(finished: Path, tmp_path: Path, merge: bool) -> None:
    exported = use.export(finished, "lora", tmp_path / 'my "best" model', merge=merge)
    assert ast.parse(exported.loading)
    assert r'"my \"best\" model"' in exported.loading


def test_what_comes_from_a_write_protected_folder_can_be_written_to(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    model = next((run / "models" / "full").iterdir())
    for place in (*model.iterdir(), model):
        place.chmod(0o555)
    use.export(run, "full", tmp_path / "out")
    model.chmod(0o755)
    assert all(place.stat().st_mode & stat.S_IWUSR for place in (tmp_path / "out", *(tmp_path / "out").iterdir()))


def test_what_is_there_already_is_not_touched(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="is there already; choose another place"):
        use.export(finished, "full", tmp_path / "model")
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "mine.txt"]


def test_a_hidden_folder_of_the_same_name_is_not_touched(finished: Path, tmp_path: Path) -> None:
    (tmp_path / ".model").mkdir()
    use.export(finished, "full", tmp_path / "model")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".model", "model"]


def test_what_cannot_be_merged_is_told_and_nothing_is_left(finished: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from loralab import exporting

    def refuse(network: Any) -> Any:
        raise NotMergeableError("no")

    monkeypatch.setattr(exporting, "merged", refuse)
    with pytest.raises(UserError, match="--merge: lora can't be merged into its model"):
        use.export(finished, "lora", tmp_path / "model", merge=True)
    assert list(tmp_path.iterdir()) == []


def test_a_merged_model_that_answers_otherwise_is_not_handed_over(
    finished: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from loralab import exporting

    monkeypatch.setattr(exporting, "merged", lambda network: network.unload())  # the adapter is lost
    with pytest.raises(UserError, match="gives other logits"):
        use.export(finished, "lora", tmp_path / "model", merge=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_leads_elsewhere_is_not_exported(finished: Path, tmp_path: Path) -> None:
    """A results folder may come from anybody, and an export may go anywhere."""
    run = shutil.copytree(finished, tmp_path / "run")
    secret = tmp_path / "secret"
    secret.write_text("s", encoding="utf-8")
    model = next((run / "models" / "full").iterdir())
    (model / "more.txt").symlink_to(secret)
    with pytest.raises(UserError, match="links to elsewhere"):
        use.export(run, "full", tmp_path / "out")
    file = next((run / "trials").glob("final-full-*.json"))
    for outside in ("../secret", "/etc", "C:/secret", "models\\\\..\\\\..\\\\secret"):
        content = re.sub(r'"folder":"[^"]*"', f'"folder":"{outside}"', file.read_text(encoding="utf-8"))
        file.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match="changed since"):
            use.export(run, "full", tmp_path / "out")


def test_the_command_says_how_it_is_loaded(finished: Path, tmp_path: Path) -> None:
    to = tmp_path / "modèle"
    shown = RUNNER.invoke(app, ["export", str(finished), "--arm", "full", "--to", str(to)])
    assert shown.exit_code == 0, shown.output
    assert f'from_pretrained("{to}")' in shown.output
    assert (to / "model.safetensors").is_file()
