"""How a function that looks at something becomes a check."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec

from loralab.memory import is_out_of_memory
from loralab.results import Check

P = ParamSpec("P")
Seen = tuple[bool, str]  # whether the claim holds, and what was looked at and found


def claim(name: str) -> Callable[[Callable[P, Seen | None]], Callable[P, Check | None]]:
    """Make a check of a function that tells whether the claim `name` holds, or None where it doesn't apply.

    A check that stumbles fails, and shows the error. Where memory runs out nothing is known: the check is left out,
    since a failing one would void an arm that may well be right. The process's log has the traceback of both.
    """

    def made(look: Callable[P, Seen | None]) -> Callable[P, Check | None]:
        @wraps(look)
        def check(*args: P.args, **kwargs: P.kwargs) -> Check | None:
            try:
                seen = look(*args, **kwargs)
            except Exception as error:  # whatever stumbles over a broken model or file: no list is complete
                traceback.print_exc()
                if is_out_of_memory(error):
                    return None
                seen = False, f"{type(error).__name__}: {error}"
            return None if seen is None else Check(name=name, passed=seen[0], seen=seen[1])

        return check

    return made


def first_of(names: Sequence[str]) -> str:
    """Return the words that name the first offender, or none."""
    return f", the first of them {names[0]}" if names else ""
