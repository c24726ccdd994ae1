"""The card of an exported model: what it is, how it compares, how it was made, how it is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from loralab.comparison import Comparison
from loralab.hub import is_hub_id
from loralab.report.rendering import render
from loralab.results import Measurement
from loralab.tasks import Classification


def card(comparison: Comparison, measurement: Measurement, loading: str, base: str | None) -> str:
    """Return the card of the model that a trial made: Markdown with what the hub reads above.

    `loading`: the lines that load it. `base`: where an adapter looks for the model that it is loaded on.
    """
    return render(
        "card.md.j2",
        {
            "comparison": comparison,
            "measurement": measurement,
            "loading": loading,
            "base": base,
            "metadata": {
                name: json.dumps(value, ensure_ascii=False)
                for name, value in _metadata(measurement, is_adapter=base is not None).items()
            },
        },
    )


def _metadata(measurement: Measurement, *, is_adapter: bool) -> Mapping[str, object]:
    """Return what the hub reads. JSON is YAML, so that no text can break out of its value."""
    trial = measurement.trial
    classifies = isinstance(trial.conditions.task, Classification)
    found: dict[str, object] = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-classification" if classifies else "text-generation",
        "tags": ["loralab", trial.method.kind],
    }
    if is_hub_id(trial.conditions.model) and not Path(trial.conditions.model).exists():
        found["base_model"] = trial.conditions.model
    return found
