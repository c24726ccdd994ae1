"""The arms of an experiment that names none."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any


def _lora(*targets: str) -> dict[str, Any]:
    return {
        "method": {"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.1, "targets": [*targets]},
        "learning_rates": [3e-4, 1e-3, 3e-3],
    }


# By the kind of the task. LoRA's best rate is about ten times that of full fine-tuning, a bare linear head's is higher
# still; a choice at the edge of a list is followed by one more try outward.
_FULL = {"method": {"kind": "full"}, "learning_rates": [1e-5, 3e-5, 1e-4]}
USUAL_ARMS: Mapping[str | None, Mapping[str, Any]] = {
    "classification": {
        "full": _FULL,
        "lora-r8": _lora("attention"),
        "head-only": {"method": {"kind": "head-only"}, "learning_rates": [1e-3, 1e-2, 1e-1]},
    },
    "causal-lm": {
        "full": _FULL,
        "lora-attention": _lora("attention"),
        "lora-all": _lora("all-linear"),
    },
}


def usual_arms(kind: str | None) -> dict[str, Any]:
    """Return the usual arms of a kind of task for somebody who may change them; none where there is no such kind."""
    return {name: deepcopy(arm) for name, arm in USUAL_ARMS.get(kind, {}).items()}
