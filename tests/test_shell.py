"""The command line as a shell meets it: completion, and variables of a file `.env`."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loralab.cli import main

LORALAB = Path(sys.executable).with_name("loralab")
HF_HOME = """
import sys
sys.argv = ["loralab", "recipes"]
from loralab.cli import main
try:
    main()
except SystemExit:
    pass
from huggingface_hub import constants
print(constants.HF_HOME)
"""


def completed(words: str, folder: Path) -> list[str]:
    """What a shell offers for the last of the words."""
    asked = {"_LORALAB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [LORALAB], capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **asked}
    )
    return done.stdout.split()


@pytest.mark.skipif(not LORALAB.exists(), reason="loralab is not installed as a command here")
def test_recipes_files_and_arms_are_completed(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "quick-mine.yaml").write_text("", encoding="utf-8")
    assert completed("loralab run quick", tmp_path) == ["quickstart", "quick-mine.yaml"]
    assert completed("loralab run ./quick", tmp_path) == ["./quick-mine.yaml"]
    assert completed(f"loralab run {tmp_path}/quick", tmp_path) == [f"{tmp_path}/quick-mine.yaml"]
    assert completed(f"loralab predict {finished} --arm l", tmp_path) == ["lora"]
    assert completed("loralab predict nowhere --arm l", tmp_path) == []


def test_what_one_may_not_read_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a machine with other users; who runs the tests may be allowed everything."""

    def refuse() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/home/bob/reviews.csv")

    monkeypatch.setattr("loralab.cli.app", refuse)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("/home/bob/reviews.csv: Permission denied; ")


def test_variables_of_a_dotenv_file_hold_where_the_environment_lacks_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"HF_HOME={tmp_path / 'from-file'}\n", encoding="utf-8")

    def seen(**environment: str) -> str:
        kept = {name: value for name, value in os.environ.items() if name != "HF_HOME"}
        done = subprocess.run(
            [sys.executable, "-c", HF_HOME],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**kept, **environment},
        )
        return done.stdout.splitlines()[-1]

    assert seen() == str(tmp_path / "from-file")
    assert seen(HF_HOME="/elsewhere") == "/elsewhere"


def test_a_dotenv_file_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Windows' PowerShell writes one."""
    (tmp_path / ".env").write_text("HF_TOKEN=x", encoding="utf-16")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("loralab.cli.app", lambda: None)
    main()
    assert capsys.readouterr().err.startswith(f"{tmp_path / '.env'} can't be read, and is left out: ")
