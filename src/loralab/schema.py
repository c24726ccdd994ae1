"""The form of an experiment file as JSON Schema, by which editors complete and check one while it is written."""

from __future__ import annotations

from typing import Any

from loralab.experiment import Experiment

SHORT_FOR_A_SOURCE = ("Data", "Corpus", "EvaluationSet")  # settings that a file may give as their source alone


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of what a file may hold, its short forms included.

    What only several settings together can get wrong, such as a baseline that is no arm, it can't tell.
    """
    schema = Experiment.model_json_schema()
    for name in SHORT_FOR_A_SOURCE:
        whole = schema["$defs"][name]
        schema["$defs"][name] = {"title": name, "anyOf": [{"type": "string", "description": "its source alone"}, whole]}
    seeds = schema["properties"]["seeds"]
    number = {"type": "integer", "minimum": 1, "description": "so many, from 0 on"}
    auto = {"const": "auto", "description": "as many as it takes, up to 12"}
    schema["properties"]["seeds"] = {"title": "Seeds", "anyOf": [number, auto, seeds]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "loralab experiment"}
