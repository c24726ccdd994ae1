"""Texts from a file, as `predict --file` takes them: an answer for every line, or every row."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import write_jsonl
from loralab.cli import app
from loralab.data.asked import read_asked
from loralab.data.records import Columns
from loralab.errors import UserError

RUNNER = CliRunner()
SINGLE, PAIR = Columns(("review",), "stars"), Columns(("premise", "hypothesis"), "label")


def test_a_text_file_has_a_text_a_line_and_only_line_feeds_end_lines(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("the cat \r\n\nthe straße\u2028once\n".encode())
    assert read_asked(file, SINGLE) == ["the cat ", "", "the straße\u2028once"]
    file.write_bytes(b"")
    assert read_asked(file, SINGLE) == []


def test_a_table_is_read_by_the_columns_of_the_experiment_and_needs_no_labels(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text('id,review\n1,"good, really"\n2,bad\n', encoding="utf-8")
    assert read_asked(tmp_path / "new.csv", SINGLE) == ["good, really", "bad"]
    write_jsonl(tmp_path / "pairs.jsonl", [{"premise": "a", "hypothesis": "b"}])
    assert read_asked(tmp_path / "pairs.jsonl", PAIR) == [("a", "b")]


def test_lines_are_no_pairs(tmp_path: Path) -> None:
    """Two lines would look like one."""
    (tmp_path / "two.txt").write_text("the cat\na dog\n", encoding="utf-8")
    with pytest.raises(UserError, match="a table with the columns premise and hypothesis"):
        read_asked(tmp_path / "two.txt", PAIR)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.txt", None, "no such file"),
        ("other.jsonl", '{"text": "a"}\n', "no column 'review'"),
        ("list.jsonl", '{"review": ["a", "b"]}\n', "is not a text"),
        ("empty.csv", "", "is empty"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, content: str | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        read_asked(tmp_path / name, SINGLE)


def test_the_command_answers_every_line_of_a_file(finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("the cat\nthe river\n", encoding="utf-8")
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "lora", "--file", str(file)])
    assert [json.loads(line)["text"] for line in shown.stdout.splitlines()] == ["the cat", "the river"]
