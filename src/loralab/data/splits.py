"""Which of a source's splits serves for what."""

from __future__ import annotations

import re
from collections.abc import Collection

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from loralab.errors import MistakesError
from loralab.settings import Settings

SPLITS = ("train", "validation", "test")
_VALIDATION = ("validation", "valid", "val", "dev")  # the names by which people know one and the same split
_WORDS = {"train": ("train", "training"), "validation": _VALIDATION, "test": ("test", "testing")}


class SplitNames(Settings):
    """What the splits are called in the source. `validation` also stands for valid, val and dev.

    None: the source's own, if it has one, is left alone, and the split held out of train.
    """

    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"

    @model_validator(mode="after")
    def _keep_training_apart(self) -> SplitNames:
        if self.train in (self.validation, self.test):
            raise PydanticCustomError("splits", "train is {name}, which is scored as well", {"name": repr(self.train)})
        return self

    def spellings(self) -> frozenset[str]:
        """Return every name by which one of the splits may go."""
        return frozenset(name for split in SPLITS for name in spellings_of(getattr(self, split)))

    def choose(self, there: Collection[str], source: str) -> dict[str, str]:
        """Return which of the names `there` serves as train, test and validation.

        What serves as test is never validation too. A split under its usual name may be missing: then it is held out of
        train. Raises MistakesError, which lists the names there, where train or a split named on purpose is missing,
        and where another name looks like the one that is missing.
        """
        chosen: dict[str, str] = {}
        mistakes = []
        for split in ("train", "test", "validation"):
            name = getattr(self, split)
            if name is None:
                continue
            found = [spelling for spelling in spellings_of(name) if spelling in there]
            free = [spelling for spelling in found if spelling not in chosen.values()]
            if free:
                chosen[split] = free[0]
            elif name != split or split == "train":
                why = f"{name!r} serves for something else" if found else f"there is no split {name!r}"
                mistakes.append(f"data.splits.{split}: {why}; there are {', '.join(there)}")
            elif not found and (alike := [other for other in there if looks_like(split, other)]):
                mistakes.append(
                    f"data.splits.{split}: there is no split {name!r}; name the one that is meant, such as "
                    f"{alike[0]!r}, or none by null: then it is held out of train (there are {', '.join(there)})"
                )
        if mistakes:
            raise MistakesError(source, mistakes)
        return chosen


def spellings_of(name: str | None) -> tuple[str, ...]:
    """Return the names by which a split called `name` may go, the likeliest first; none for None."""
    if name is None:
        return ()
    return _VALIDATION if name == "validation" else (name,)


def looks_like(split: str, name: str) -> bool:
    """Tell whether what is called `name` is likely to be that split, as 'x_test' and 'Testing' are test."""
    return re.search(f"(^|[^a-z])({'|'.join(_WORDS[split])})([^a-z]|$)", name.lower()) is not None
