"""The errors a user can fix. Each message names the place, the value and the way out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can put right. The command line prints the message alone and exits with status 2."""


class MistakesError(UserError):
    """Every mistake of one source at once, so that nobody has to find them one run at a time."""

    def __init__(self, source: str, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n  ".join([f"{source} has {count}:", *mistakes]))


class DivergedError(Exception):
    """A loss that is no longer a finite number: an answer about the arm, not a bug."""

    def __init__(self, step: int, loss: float, what: str = "the training loss") -> None:
        super().__init__(f"{what} was {loss} at step {step}")


class LosingError(Exception):
    """A learning rate that is so far behind another of its arm that it isn't tried to the end."""

    def __init__(self, step: int, score: float, best: float) -> None:
        super().__init__(f"at step {step} validation gave {score:.4g}, and another learning rate {best:.4g}")


@contextmanager
def told_as(is_it: Callable[[Exception], bool], told: Callable[[Exception], Exception]) -> Iterator[None]:
    """Raise what `told` makes of an error inside that `is_it` recognises; other errors are raised as they are."""
    try:
        yield
    except Exception as error:  # libraries have many types for one thing; what isn't it is raised again
        if not is_it(error):
            raise
        raise told(error) from error


def unknown_name(what: str, name: str, known: Sequence[str]) -> str:
    """Return that no `what` is called `name`, and the nearest of the known names, or all where none is near."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    return f"no {what} is called {name!r}; {hint}"
