"""Files that are written whole or not at all, or only where there are none yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loralab.errors import UserError


@contextmanager
def draft_of(file: Path) -> Iterator[Path]:
    """Yield where to write what becomes `file` once it is whole; what is left of one that isn't is removed."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(file)
    except BaseException:  # whatever the writer raises, or Ctrl-C: the caller hears of it, and no draft is left lying
        with suppress(OSError):
            draft.unlink()
        raise


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yield where to write `file`, as `draft_of`. Raises UserError where it can't be written."""
    try:
        with draft_of(file) as draft:
            yield draft
    except OSError as error:
        raise UserError(f"{file} can't be written: {error}; everything finished before it is kept") from error


def write_whole(file: Path, text: str) -> None:
    """Write `file` whole or not at all: a reader sees the old content or the new, whenever the process is stopped.

    Raises UserError where it can't be written.
    """
    with whole_file(file) as draft, draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def require_new(target: Path) -> None:
    """Raise UserError where the file `target` is there already."""
    if target.exists():
        raise already_there(target)


def write_new(target: Path, content: str) -> None:
    """Write a file that isn't there yet. Raises UserError where it is, or can't be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise already_there(target) from None
    except OSError as error:
        raise UserError(f"{target} can't be written: {error}") from None


def already_there(target: Path) -> UserError:
    """Return the error for a place that is taken."""
    return UserError(f"{target} is there already; choose another place with --to")
