"""The schema says what a file may hold: every shipped recipe fits, a misspelt setting doesn't."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from conftest import toy_file
from loralab import recipes
from loralab.cli import app
from loralab.files import read_value
from loralab.schema import json_schema


def mistakes(content: Any) -> list[str]:
    # A file has lists; pydantic's schema of a tuple asks for an array, which a list is.
    found = jsonschema.Draft202012Validator(json_schema()).iter_errors(json.loads(json.dumps(content)))
    return [error.message for error in found]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_fits(name: str) -> None:
    assert mistakes(read_value(recipes.text(name), name)) == []


@pytest.mark.parametrize("seeds", [3, "auto", [0, 7]])
def test_the_short_forms_of_seeds_fit(seeds: Any) -> None:
    assert mistakes(toy_file(Path("model"), Path("data"), seeds=seeds)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sedes": 3},
        {"seeds": 0},
        {"seeds": "many"},
        {"arms": {"full": {"method": {"kind": "ful"}}}},
        {"conditions": {}},
    ],
)
def test_what_an_experiment_file_may_not_hold_does_not_fit(changes: dict[str, Any]) -> None:
    assert mistakes(toy_file(Path("model"), Path("data"), **changes))


def test_the_command_prints_it_and_writes_it(tmp_path: Path) -> None:
    runner = CliRunner()
    assert json.loads(runner.invoke(app, ["schema"]).output) == json_schema()
    file = tmp_path / "loralab.json"
    shown = runner.invoke(app, ["schema", "--to", str(file)])
    assert json.loads(file.read_text(encoding="utf-8")) == json_schema()
    assert "yaml-language-server" in shown.output
