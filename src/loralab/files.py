"""From an experiment file to an Experiment, or to one error that lists every mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from loralab import recipes
from loralab.errors import MistakesError, UserError, unknown_name
from loralab.experiment import Experiment
from loralab.hub import as_path
from loralab.methods import Peft
from loralab.usual_arms import usual_arms

Changes = Mapping[str, Any]  # dotted place -> new value, such as {"conditions.model": "bert-base-uncased"}


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: `1e-5` is a number and `yes` a word (as in YAML 1.2), a key given twice an error."""


_BOOL, _MERGE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge"
_Loader.yaml_implicit_resolvers = {
    letter: [(tag, form) for tag, form in resolvers if tag != _BOOL]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
    twice = next((key for position, key in enumerate(keys) if key in keys[:position]), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_experiment(source: str | Path, changes: Changes | None = None, arms: Sequence[str] = ()) -> Experiment:
    """Read an experiment file or a shipped recipe, apply `changes`, and keep only `arms` where they are named.

    Raises UserError, and where the whole file can be read a MistakesError: every mistake, its place and the way out.
    """
    name, text = _find(source)
    raw = read_value(text, name)
    if not isinstance(raw, dict):
        raise UserError(f"{name} holds no experiment: it should have at least conditions, with a model and a task")
    if arms or any(place.startswith("arms.") for place in changes or {}):
        raw.setdefault("arms", usual_arms(_kind_of_task(raw)))
    if arms:
        _keep_arms(raw, arms, name)
    for place, value in (changes or {}).items():
        _set(raw, place, value, name)
    return parse_experiment(raw, name)


def _kind_of_task(raw: Mapping[str, Any]) -> str | None:
    """Return the kind of task that the file names, or None; mistakes are told when it is read."""
    inner: Any = raw
    for key in ("conditions", "task", "kind"):
        inner = inner.get(key) if isinstance(inner, dict) else None
    return inner if isinstance(inner, str) else None


def read_value(text: str, name: str) -> Any:
    """Read YAML as an experiment file is read; `name` says in messages where it came from."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: it builds nothing but plain values
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, such as 2020-13-45
        raise UserError(f"{name} is not valid YAML: {error}") from None
    except RecursionError:
        raise UserError(f"{name} is not valid YAML: it is nested too deeply") from None


def parse_experiment(raw: Any, name: str) -> Experiment:
    """Turn plain values into an Experiment; `name` says in messages where they came from."""
    try:
        experiment = Experiment.model_validate(raw)
    except ValidationError as error:
        raise MistakesError(name, [line for detail in error.errors() for line in _describe(detail, raw)]) from None
    mistakes = [f"arms.{arm}.method: {mistake}" for arm, mistake in _mistakes_to_peft(experiment)]
    if mistakes:
        raise MistakesError(name, mistakes)
    return experiment


def _mistakes_to_peft(experiment: Experiment) -> list[tuple[str, str]]:
    """Return what only PEFT can tell, as (arm, mistake). It imports torch, but only where an arm asks for PEFT."""
    methods = {name: arm.method for name, arm in experiment.arms.items()}
    return [(name, line) for name, method in methods.items() if isinstance(method, Peft) for line in method.mistakes()]


def _find(source: str | Path) -> tuple[str, str]:
    path = as_path(source)
    if path.is_file():
        try:
            return path.name, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} can't be read: {error}") from None
    if path.is_dir():
        raise UserError(f"{path} is a folder; give an experiment file, or 'loralab report {path}' to see its results")
    if str(source) in recipes.names():
        return f"recipe {source}", recipes.text(str(source))
    known = ", ".join(recipes.names())
    raise UserError(f"{source}: no such file, and no recipe of that name; recipes are {known}")


def _keep_arms(raw: dict[str, Any], arms: Sequence[str], name: str) -> None:
    there = raw.get("arms")
    if not isinstance(there, dict):
        return  # the mistake is told when the whole file is read
    unknown = [arm for arm in arms if arm not in there]
    if unknown:
        raise UserError(f"{name}: no arm is called {', '.join(unknown)}; the arms are {', '.join(there)}")
    raw["arms"] = {arm: there[arm] for arm in arms}


def _set(raw: dict[str, Any], place: str, value: Any, name: str) -> None:
    *parents, last = _keys(raw, place)
    inner = raw
    for key in parents:
        step = inner.setdefault(key, {})
        if key == "data" and isinstance(step, str):  # `data: imdb` is short for `data: {source: imdb}`
            step = inner[key] = {"source": step}
        if not isinstance(step, dict):
            raise UserError(f"{name}: can't set {place}: {key} is {step!r}, which has no parts")
        inner[key] = dict(step)  # of its own: by YAML's anchors, another arm may have the same one
        inner = inner[key]
    inner[last] = value


def _keys(raw: Mapping[str, Any], place: str) -> list[str]:
    """Split a dotted place; an arm's name may hold dots, too."""
    arms = raw.get("arms")
    named = [arm for arm in arms if place.startswith(f"arms.{arm}.")] if isinstance(arms, dict) else []
    if not named:
        return place.split(".")
    arm = max(named, key=len)
    return ["arms", arm, *place.removeprefix(f"arms.{arm}.").split(".")]


def _describe(detail: ErrorDetails, raw: Any) -> list[str]:
    """Return one line for each mistake that pydantic's `detail` stands for."""
    kind = detail["type"]
    if kind == "experiment":
        return str(detail["ctx"]["mistakes"]).split("\n")
    place, value = _place(detail["loc"], raw), detail["input"]
    if kind == "missing":
        return [f"{place}.{detail['loc'][-1]}: is missing".removeprefix(".")]
    if kind == "extra_forbidden":
        *parents, key = detail["loc"]
        parent = place.removesuffix(str(key)).removesuffix(".") or "the file"
        return [f"{parent}: {unknown_name('setting', str(key), _known_names(parents))}"]
    context = detail.get("ctx", {})
    messages = {
        "greater_than": f"{value!r} is not {_above(context.get('gt', 0))}",
        "greater_than_equal": f"{value!r} is {_below(context.get('ge', 0))}",
        "finite_number": f"{value!r} is not a finite number",
        "less_than": f"{value!r} is too large; it must be less than {context.get('lt')}",
        "too_short": "is empty",
        "string_pattern_mismatch": "a name starts with a letter or digit; '.', '_' and '-' may follow",
        "union_tag_not_found": "has no 'kind'",
        "union_tag_invalid": f"{context.get('tag')!r} is no kind of it; there are {context.get('expected_tags')}",
        **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), f"{value!r} is not a whole number"),
        **dict.fromkeys(("float_parsing", "float_type"), f"{value!r} is not a number"),
        **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), f"{value!r} is no mapping of settings"),
        **dict.fromkeys(("bool_parsing", "bool_type"), f"{value!r} is neither true nor false"),
        "tuple_type": f"{value!r} is not a list",
        "literal_error": f"{value!r} is not one of {context.get('expected')}",
    }
    message = messages.get(kind, detail["msg"])
    return [f"{place}: {message}" if place else message]


def _above(bound: Any) -> str:
    return f"more than {bound}" if bound else "a positive number"


def _below(bound: Any) -> str:
    return f"less than {bound}" if bound else "negative"


def _place(location: Sequence[int | str], raw: Any) -> str:
    """Return the dotted place in the file, without what pydantic adds to it: tags of unions and marks of keys."""
    parts: list[str] = []
    inner: Any = raw
    for key in location:
        is_there = key in inner if isinstance(inner, dict) else isinstance(inner, list) and isinstance(key, int)
        if is_there:
            inner = inner[key]
            parts.append(str(key))
    return ".".join(parts)


def _known_names(location: Sequence[int | str]) -> list[str]:
    """Return the settings that exist at `location`."""
    kinds: tuple[Any, ...] = (Experiment,)
    for key in location:
        tagged = [kind for kind in kinds if _tag(kind) == key]
        if tagged:
            kinds = tuple(tagged)
            continue
        models = [kind for kind in kinds if _is_model(kind)]
        inner = [model.model_fields[key].annotation for model in models if key in model.model_fields]
        kinds = tuple(part for annotation in inner or kinds for part in _parts(annotation))
    return sorted({name for kind in kinds if _is_model(kind) for name in kind.model_fields})


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Return the classes inside an annotation: members of unions, values of mappings, items of sequences."""
    if get_origin(annotation) is None:
        return (annotation,)
    return tuple(part for argument in get_args(annotation) for part in _parts(argument))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tag(kind: Any) -> str | None:
    return kind.model_fields["kind"].default if _is_model(kind) and "kind" in kind.model_fields else None
