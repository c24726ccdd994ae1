"""Experiment files that ship with the package and run as they are."""

from importlib import resources
from pathlib import Path

from loralab.errors import UserError
from loralab.writing import write_new


def names() -> list[str]:
    """Return the names of the shipped recipes, in alphabetical order."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def text(name: str) -> str:
    """Return the experiment file of the recipe `name`."""
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """Return the recipe's first comment line, which says what it compares."""
    return text(name).splitlines()[0].lstrip("# ")


def copy(name: str, target: Path) -> Path:
    """Write the recipe `name` to the file `target`. Raises UserError for an unknown name or a file that is there."""
    if name not in names():
        raise UserError(f"no recipe is called {name!r}; there are {', '.join(names())}")
    write_new(target, text(name))
    return target
