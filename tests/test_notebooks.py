"""The notebooks run from top to bottom, here on small data."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from toy_language import write_corpus

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def executed(name: str, folder: Path, parameters: dict[str, Any]) -> str:
    """Execute the notebook in `folder` with other parameters; return the text that it printed."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    given: dict[str, Any] = {}
    exec(cell.source, given)
    assert parameters.keys() == given.keys() - {"__builtins__"}
    cell.source = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") or str(output.get("data", "")) for output in outputs)


def test_the_classifiers_study(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    rows = {"train": 80, "validation": 24, "test": 48}
    told = executed(
        "classification",
        tmp_path,
        {"MODEL": str(toy_model), "DATA": str(toy_data), "ROWS": rows, "MAX_LENGTH": 48}
        | {"STEPS": 6, "SEEDS": 2, "RUN": "run"},
    )
    assert "B is zero, so nothing has changed yet: True" in told
    assert "the change has rank 8\nA matrix of that size could have rank 32" in told
    assert "LoRA: 8 directions" in told or "LoRA: 7 directions" in told
    assert "Over 2 seeds and 48 test texts" in told
    assert ": direction " in told
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("name", [file.stem for file in sorted(NOTEBOOKS.glob("*.ipynb"))])
def test_every_notebook_is_told_in_words_before_each_piece_of_code(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= 6


def test_the_language_models_study(toy_gpt2: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ["animal", "place"])
    elsewhere = write_corpus(tmp_path / "elsewhere", ["colour", "time"], longest=20)
    told = executed(
        "language_model",
        tmp_path,
        {
            "MODEL": str(toy_gpt2),
            "DATA": {"source": str(corpus)},
            "ELSEWHERE": {"source": str(elsewhere)},
            "BLOCK": 32,
            "STEPS": 6,
            "SEEDS": 1,
            "RUN": "run",
        },
    )
    assert "with four times as much padding as text" in told
    assert "h.0.attn.c_attn: 32 x 96, 3,072 numbers; LoRA learns 1,024, 33.3%" in told
    assert "lora-4:" in told
    assert "lora-2: direction " in told
    assert "LoRA-3: {'test':" in told
    assert "perplexity of" in told
    assert "full: The river was" in told
    assert (tmp_path / "run" / "report.html").is_file()
