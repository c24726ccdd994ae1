"""Experiments side by side: each arm in each of them, and only the conditions that differ."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from loralab import api
from loralab.cli import app
from loralab.comparison import Comparison, compare
from loralab.errors import UserError
from loralab.report import beside, print_table
from loralab.results import Failure, Measurement

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def here(finished: Path) -> Comparison:
    return api.load(finished)


def elsewhere(comparison: Comparison) -> Comparison:
    """The same experiment on a machine of another name, without head-only."""

    def moved(result: Measurement | Failure) -> Measurement | Failure:
        if isinstance(result, Failure):
            return result
        machine = result.environment.model_copy(update={"device_name": "a far faster one"})
        return result.model_copy(update={"environment": machine})

    arms = {name: arm for name, arm in comparison.experiment.arms.items() if name != "head-only"}
    experiment = comparison.experiment.model_copy(update={"arms": arms})
    return compare(experiment, {name: moved(one) for name, one in comparison.results.items()})


def test_every_arm_has_a_row_for_each_experiment_that_has_it(here: Comparison) -> None:
    found = beside.outcomes({"here": here, "there": elsewhere(here)})
    assert [row[:2] for row in found.rows] == [
        ["full", "here"],
        ["full", "there"],
        ["lora", "here"],
        ["lora", "there"],
        ["head-only", "here"],
    ]
    assert {len(row) for row in found.rows} == {len(found.header)}


def test_only_conditions_that_differ_are_told(here: Comparison) -> None:
    found = beside.differing({"here": here, "there": elsewhere(here)})
    assert {row[0].split(".")[1] for row in found.rows[:-1]} == {"head-only"}  # settings of the arm that one lacks
    assert found.rows[-1][0] == "Machine"
    assert "a far faster one" in found.rows[-1][2]
    assert beside.differing({"here": here, "again": here}).rows == []
    assert "They share every setting, the data and the machine." in beside.meaning({"here": here, "again": here})
    empty = compare(here.experiment, {})
    assert "They share every setting." in beside.meaning({"here": empty, "again": empty})


def test_both_answers_stand_beside_each_other(here: Comparison) -> None:
    found = beside.outcomes({"here": here})
    row = dict(zip(found.header, next(row for row in found.rows if row[0] == "lora"), strict=True))
    verdict = here.verdicts["lora"]
    assert row["Direction"] == verdict.direction.value
    assert row["Margin"].startswith(f"{verdict.margin_answer.value} (")


def test_another_setting_of_an_arm_is_told(here: Comparison) -> None:
    arms = dict(here.experiment.arms)
    arms["lora"] = arms["lora"].model_copy(update={"method": arms["lora"].method.model_copy(update={"alpha": 64})})
    other = compare(here.experiment.model_copy(update={"arms": arms}), here.results)
    assert [row[0] for row in beside.differing({"here": here, "there": other}).rows] == ["arms.lora.method.alpha"]


def test_an_arm_without_a_score_says_why_and_nothing_else(here: Comparison) -> None:
    failed = {
        name: Failure(trial=one.trial, reason="out of memory", message="12 GB") if one.trial.arm == "lora" else one
        for name, one in here.results.items()
        if one.trial.stage == "final"
    }
    tuning = {name: one for name, one in here.results.items() if one.trial.stage == "tuning"}
    found = beside.outcomes({"here": here, "there": compare(here.experiment, tuning | failed)})
    assert next(row for row in found.rows if row[:2] == ["lora", "there"])[2] == "out of memory"


def test_names_with_brackets_are_told_apart(here: Comparison) -> None:
    console = Console(file=StringIO(), width=200)
    print_table(beside.differing({"imdb [old]": here, "imdb [new]": elsewhere(here)}), console)
    assert isinstance(console.file, StringIO)
    assert "imdb [old]" in console.file.getvalue()


def test_an_arm_that_lost_a_seed_says_so(here: Comparison) -> None:
    lost = next(one for one in here.measurements if one.trial.arm == "lora")
    failed = {**here.results, lost.trial.id: Failure(trial=lost.trial, reason="diverged", message="")}
    found = beside.outcomes({"here": here, "there": compare(here.experiment, failed)})
    assert next(row for row in found.rows if row[:2] == ["lora", "there"])[2].endswith("(1 of 2 seeds)")


def test_classifiers_and_language_models_stand_beside_each_other(here: Comparison, finished_language: Path) -> None:
    runs = {"here": here, "language": api.load(finished_language)}
    assert any("perplexity" in row[2] for row in beside.outcomes(runs).rows)
    assert "different metrics" in " ".join(beside.meaning(runs))


def test_the_command_prints_both_tables_and_writes_them(
    finished: Path, finished_language: Path, tmp_path: Path
) -> None:
    file = tmp_path / "both.md"
    shown = RUNNER.invoke(app, ["report", str(finished), str(finished_language), "--to", str(file)])
    assert shown.exit_code == 0, shown.output
    assert finished.name in shown.output
    text = file.read_text(encoding="utf-8")
    assert "# Side by side" in text
    assert "## Where they differ" in text


def test_the_same_folder_twice_is_refused(finished: Path) -> None:
    with pytest.raises(UserError, match="given twice"):
        api.beside([finished, finished])
