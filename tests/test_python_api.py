"""The Python API as its page shows it."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

import loralab
from conftest import toy_file

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_example_of_the_documentation_runs(
    finished: Path,
    toy_model: Path,
    toy_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    shutil.copytree(finished, tmp_path / "runs" / "mine")
    (tmp_path / "experiment.yaml").write_text(
        yaml.safe_dump(toy_file(toy_model, toy_data), sort_keys=False), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    example = example.replace("lora-r8", "lora")  # as the toy experiment calls it
    exec(compile(example, PAGE.name, "exec"), {"__name__": "__main__"})
    shown = capsys.readouterr().out
    assert "accuracy, mean over seeds: 0." in shown
    assert "texts judged wrongly, the first: ['test/" in shown


def test_the_page_names_every_function_of_the_package() -> None:
    functions = [name for name in loralab.__all__ if callable(getattr(loralab, name)) and name.islower()]
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in functions if f"{name}(" not in page] == []


def test_results_can_be_held_against_another_baseline(finished: Path) -> None:
    comparison = loralab.load(finished)
    other = comparison.experiment.model_copy(update={"baseline": "lora"})
    again = loralab.compare(other, comparison.results)
    forth, back = comparison.arms["lora"].differences, again.arms["full"].differences
    assert back["accuracy"].value == pytest.approx(-forth["accuracy"].value)
