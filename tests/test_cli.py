import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from conftest import fails, toy_file
from loralab.cli import app

RUNNER = CliRunner()


@pytest.fixture
def toy_yaml(toy_model: Path, toy_data: Path, tmp_path: Path) -> Path:
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(toy_file(toy_model, toy_data), sort_keys=False), encoding="utf-8")
    return file


def test_plan_lists_every_trial(toy_yaml: Path) -> None:
    shown = RUNNER.invoke(app, ["plan", str(toy_yaml), "--seeds", "3", "--arms", "full,lora"])
    assert shown.exit_code == 0
    assert shown.stdout.count("final") == 7
    assert "11 to 13 trials" in shown.stdout


def test_overrides_reach_the_trials(toy_yaml: Path) -> None:
    shown = RUNNER.invoke(app, ["plan", str(toy_yaml), "--set", "arms.full.learning_rates=[5e-5, 7e-5]"])
    assert "7e-5" in shown.stdout
    shown = RUNNER.invoke(app, ["plan", str(toy_yaml), "--arms", "full, lora"])
    assert shown.exit_code == 0, shown.output


COMMANDS = [[command.name or command.callback.__name__] for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("command", [*COMMANDS, ["recipes"], ["recipes", "copy"]], ids=" ".join)
def test_every_command_helps_with_an_example(command: list[str]) -> None:
    shown = " ".join(RUNNER.invoke(app, [*command, "--help"]).stdout.split())
    assert f"For example: loralab {' '.join(command)}" in shown


def test_recipes_are_listed_with_what_they_compare() -> None:
    shown = RUNNER.invoke(app, ["recipes"])
    assert "imdb-distilbert" in shown.stdout
    assert "quickstart" in shown.stdout


def test_a_recipe_can_be_copied_and_read_but_not_over_another_file(tmp_path: Path) -> None:
    from loralab.files import read_experiment

    file = tmp_path / "mine.yaml"
    shown = RUNNER.invoke(app, ["recipes", "copy", "rank-sweep", "--to", str(file)])
    assert shown.exit_code == 0
    assert read_experiment(file) == read_experiment("rank-sweep")
    again = RUNNER.invoke(app, ["recipes", "copy", "rank-sweep", "--to", str(file)])
    assert "is there already" in str(again.exception)


def test_plan_tells_what_each_arm_trains_and_what_can_be_decided(toy_yaml: Path) -> None:
    shown = RUNNER.invoke(app, ["plan", str(toy_yaml), "--disagreement", "0.5"]).stdout.replace("\n", " ")
    assert "60 test texts and 2 seeds can decide margins of" in shown
    assert "50 % of the texts" in " ".join(shown.split())
    assert "To decide it would take" in shown
    assert "100 %" in shown


def test_plan_tells_of_local_data_what_they_can_decide_though_the_model_is_on_the_hub(toy_yaml: Path) -> None:
    shown = RUNNER.invoke(app, ["plan", str(toy_yaml), "--model", "owner/name"])
    assert shown.exit_code == 0, shown.output
    told = " ".join(shown.stdout.split())
    assert "60 test texts and 2 seeds can decide margins of" in told
    assert "--measure fetches the model." in told


def test_plan_measures_if_asked(toy_yaml: Path) -> None:
    shown = RUNNER.invoke(app, ["plan", str(toy_yaml), "--measure", "--arms", "full,lora"])
    assert shown.exit_code == 0
    assert "In all about" in shown.stdout
    assert "Fits" in shown.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "nowhere.yaml"], "no such file, and no recipe of that name"),
        (["plan", "FILE", "--rows", "train"], "--rows train: write --rows train=N,test=N"),
        (["plan", "FILE", "--rows", "train=many"], "conditions.task.data.rows.train: 'many' is not a whole number"),
        (["plan", "FILE", "--set", "conditions.epochs=0"], "conditions.epochs: 0 is not a positive number"),
        (["plan", "FILE", "--arms", "lora"], "baseline: no arm is called 'full'"),
        (["plan", "FILE", "--data", "/no/such/folder"], "/no/such/folder"),
        (["plan", "FILE", "--model", "/no/such/model"], "there is no folder '/no/such/model'"),
        (["report", "/no/such/folder"], "no experiment.json"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_yaml: Path, words: list[str], expected: str
) -> None:
    told = fails(monkeypatch, capsys, *[str(toy_yaml) if word == "FILE" else word for word in words])
    assert expected in told
    assert "Traceback" not in told


def test_a_target_that_the_model_lacks_is_told_before_anything_is_spent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_yaml: Path, tmp_path: Path
) -> None:
    words = ["run", str(toy_yaml), "--out", str(tmp_path / "out"), "--set", "arms.lora.method.targets=[q_proj]"]
    told = fails(monkeypatch, capsys, *words)
    assert "'q_proj' is neither a role nor a linear layer of this distilbert model" in told
    assert not list((tmp_path / "out" / "trials").glob("*.json"))


@pytest.mark.parametrize("words", [["plan", "FILE"], ["report", "FOLDER"]], ids=["plan", "report"])
def test_planning_and_reporting_import_no_torch(toy_yaml: Path, finished: Path, words: list[str]) -> None:
    given = [{"FILE": str(toy_yaml), "FOLDER": str(finished)}.get(word, word) for word in words]
    script = f"""
import json, sys
sys.argv = {["loralab", *given]!r}
from loralab.cli import main
try:
    main()
finally:
    print(json.dumps([name for name in ("torch", "transformers", "peft", "accelerate") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_run_prints_the_table_the_answer_and_the_reports_place(toy_yaml: Path, tmp_path: Path, finished: Path) -> None:
    shown = RUNNER.invoke(app, ["run", str(toy_yaml), "--out", str(finished)])
    assert shown.exit_code == 0
    assert "Over 2 seeds and 60 test texts" in shown.stdout.replace("\n", " ")
    assert f"The report: {finished / 'report.html'}" in shown.stdout
