"""Experiment files that ship with the package and run as they are."""

from importlib import resources


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
