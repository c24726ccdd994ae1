import contextlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import toy_file
from loralab import recipes
from loralab.errors import MistakesError, UserError
from loralab.experiment import Experiment
from loralab.files import parse_experiment, read_experiment

FILE = toy_file(Path("model"), Path("data"))


def mistakes_of(raw: Any) -> tuple[str, ...]:
    with pytest.raises(MistakesError) as caught:
        parse_experiment(raw, "toy.yaml")
    return caught.value.mistakes


def changed(place: str, value: Any) -> dict[str, Any]:
    raw = deepcopy(FILE)
    *parents, last = place.split(".")
    inner = raw
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return raw


def test_a_number_without_a_point_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(FILE).replace("0.003", "3e-3"), encoding="utf-8")
    assert "3e-3" in file.read_text()
    assert read_experiment(file).arms["full"].learning_rates == (3e-3, 1e-2)


def test_an_arm_with_dots_in_its_name_can_be_changed_and_no_other_is(tmp_path: Path) -> None:
    """YAML writes what is the same twice by an anchor, and reads it as one thing."""
    file = tmp_path / "toy.yaml"
    arms = {"full": FILE["arms"]["full"], "lora-0.5": FILE["arms"]["lora"], "lora-0": FILE["arms"]["lora"]}
    file.write_text(yaml.safe_dump({**FILE, "arms": arms}), encoding="utf-8")
    assert "*id" in file.read_text(encoding="utf-8")
    experiment = read_experiment(file, {"arms.lora-0.5.method.rank": 64})
    ranks = {name: getattr(arm.method, "rank", None) for name, arm in experiment.arms.items()}
    assert ranks["lora-0.5"] == 64
    assert ranks["lora-0"] == FILE["arms"]["lora"]["method"]["rank"]


def test_a_count_of_seeds_means_that_many_from_zero() -> None:
    assert parse_experiment(changed("seeds", 3), "toy.yaml").seeds == (0, 1, 2)


def test_data_may_be_named_by_its_source_alone() -> None:
    whole = parse_experiment(changed("conditions.task.data", {"source": "data"}), "toy.yaml")
    assert whole == parse_experiment(FILE, "toy.yaml")


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("conditions.epochs", 0, "conditions.epochs: 0 is not a positive number"),
        ("conditions.give_up", 0.9, "conditions.give_up: 0.9 is not more than 1"),
        ("conditions.steps", 10, "conditions: give either epochs or steps"),
        ("conditions.batchsize", 4, "conditions: no setting is called 'batchsize'; did you mean 'batch_size'?"),
        (
            "arms.lora.method",
            {"kind": "lora", "rnak": 8, "rank": 8, "alpha": 16},
            "arms.lora.method: no setting is called 'rnak'; did you mean 'rank'?",
        ),
        ("arms.lora.method", {"kind": "lora", "rank": 8}, "arms.lora.method.alpha: is missing"),
        ("arms.lora.method.rank", "eight", "arms.lora.method.rank: 'eight' is not a whole number"),
        (
            "arms.full.method.kind",
            "ful",
            "arms.full.method: 'ful' is no kind of it; there are 'full', 'lora', 'head-only', 'bitfit', 'peft'",
        ),
        (
            "arms.lora.method",
            {"kind": "lora", "rank": 8, "alpha": 8, "dora": "perhaps"},
            "arms.lora.method.dora: 'perhaps' is neither true nor false",
        ),
        (
            "arms.lora.method",
            {"kind": "lora", "rank": 8, "alpha": 8, "init": "svd"},
            "arms.lora.method.init: 'svd' is not one of default, gaussian",
        ),
        (
            "arms.lora.method",
            {"kind": "lora", "rank": 8, "alpha": 8, "init": "pissa", "dora": True},
            "arms.lora.method: dora can't begin from pissa; take default",
        ),
        ("arms.full.learning_rates", [1e-3, 1e-3], "arms.full.learning_rates: a learning rate is given twice"),
        ("arms.full.learning_rates", [1e-3], None),
        ("arms.full.learning_rates", [1e-3, 1e-2, 1e-1], "arms: every tuned arm needs the same number"),
        ("baseline", "ful", "baseline: no arm is called 'ful'; the arms are full, lora, head-only"),
        ("seeds", [1, 1], "seeds: [1, 1] names a seed twice"),
        ("seeds", [1_000_000], "tuning_seed: 1000000 is also a final seed"),
        ("seeds", [], "seeds: is empty"),
        ("seeds", [2**32], "seeds.0: 4294967296 is too large"),
        ("seeds", 10**12, "seeds: 1000000000000 are more than 1000"),
        ("conditions.max_grad_norm", float("inf"), "conditions.max_grad_norm: inf is not a finite number"),
        ("margin", {"acuracy": 0.1}, "margin: no metric is called 'acuracy'"),
        ("margin", {"accuracy": 2}, "margin.accuracy: 2 is 200 points; 2 points are 0.02"),
        ("arms.untouched", FILE["arms"]["full"], "arms.untouched: the name is kept"),
        (
            "conditions.task.data",
            {"source": "x", "rows": {"trian": 5}},
            "conditions.task.data.rows: no setting is called",
        ),
        ("arms", {}, "arms: is empty"),
        ("conditions", None, "conditions: None is no mapping of settings"),
        ("conditions.precision", "half", "conditions.precision: 'half' is not one of 'auto', 'float32' or 'bfloat16'"),
        ("arms", {"a/b": FILE["arms"]["full"]}, "arms.a/b: a name starts with a letter or digit"),
    ],
)
def test_a_mistake_is_told_with_its_place(place: str, value: Any, expected: str | None) -> None:
    if expected is None:
        parse_experiment(changed(place, value), "toy.yaml")
        return
    assert any(expected in mistake for mistake in mistakes_of(changed(place, value)))


def test_all_mistakes_are_told_at_once() -> None:
    raw = changed("conditions.epochs", 0)
    raw["arms"]["lora"]["method"]["rnak"] = 8
    message = str(MistakesError("toy.yaml", mistakes_of(raw)))
    assert message == (
        "toy.yaml has 2 mistakes:\n"
        "  conditions.epochs: 0 is not a positive number\n"
        "  arms.lora.method: no setting is called 'rnak'; did you mean 'rank'?"
    )


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text("baseline: full\nbaseline: lora\n", encoding="utf-8")
    with pytest.raises(UserError, match="'baseline' is given twice"):
        read_experiment(file)


def test_merge_keys_are_merged_and_yes_and_no_are_words(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(
        "conditions:\n  model: m\n  task: {kind: classification, data: {source: d, label_names: [no, yes]}}\n"
        "arms:\n  full: {method: {kind: full}, learning_rates: [1e-4]}\n"
        "  small: &small {method: {kind: lora, rank: 4, alpha: 8}, learning_rates: [1e-3]}\n"
        "  other: {<<: *small, learning_rates: [2e-3]}\n",
        encoding="utf-8",
    )
    read = read_experiment(file)
    assert read.arms["other"].method == read.arms["small"].method
    assert read.arms["other"].learning_rates == (2e-3,)
    assert read.conditions.task.data.model_dump()["label_names"] == ("no", "yes")


def test_arms_whose_files_would_be_one_somewhere_are_refused() -> None:
    arms = {"full": {"method": {"kind": "full"}, "learning_rates": [1e-4]}}
    arms |= {name: {"method": {"kind": "bitfit"}, "learning_rates": [1e-3]} for name in ("Full", "con.1", "dot.")}
    with pytest.raises(UserError, match=r"arms\.Full: differs from full in case alone") as raised:
        parse_experiment(changed("arms", arms), "toy.yaml")
    assert str(raised.value).count("no file can have this name on Windows") == 2


def test_an_unknown_experiment_names_the_recipes() -> None:
    with pytest.raises(UserError, match="recipes are aa-check, imdb-distilbert, imdb-distilbert-thorough"):
        read_experiment("imbd")


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_reads_and_says_what_it_compares(name: str) -> None:
    assert isinstance(read_experiment(name), Experiment)
    assert len(recipes.summary(name)) > 30


def test_changes_reach_into_the_file() -> None:
    changes = {"conditions.task.data.source": "elsewhere", "conditions.task.data.rows.train": 50, "seeds": 4}
    read = read_experiment("imdb-distilbert", changes, arms=["full", "lora-r8"])
    assert read.conditions.task.data.source == "elsewhere"
    assert read.conditions.task.data.rows.train == 50
    assert read.conditions.task.data.rows.test == 5000
    assert len(read.seeds) == 4
    assert list(read.arms) == ["full", "lora-r8"]


def test_arms_can_be_chosen_where_the_file_names_none(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text("conditions:\n  model: m\n  task: {kind: classification, data: d}\n", encoding="utf-8")
    assert list(read_experiment(file).arms) == ["full", "lora-r8", "head-only"]
    assert list(read_experiment(file, arms=["full", "lora-r8"]).arms) == ["full", "lora-r8"]


def test_changing_the_usual_arms_changes_them_for_this_experiment_alone(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text("conditions:\n  model: m\n  task: {kind: classification, data: d}\n", encoding="utf-8")
    usual = read_experiment(file)
    changed = read_experiment(file, {"arms.lora-r8.method.rank": 4}, arms=["full", "lora-r8"])
    assert changed.arms["lora-r8"].method.model_dump()["rank"] == 4
    assert read_experiment(file) == usual


def test_an_unknown_arm_is_told() -> None:
    with pytest.raises(UserError, match="no arm is called lora-r9; the arms are full, lora-r8, head-only"):
        read_experiment("imdb-distilbert", arms=["full", "lora-r9"])


def test_a_margin_of_perplexity_that_was_meant_in_per_cent_is_told() -> None:
    task = {"kind": "causal-lm", "data": "d"}
    with pytest.raises(UserError, match=r"margin\.log_perplexity: 2 is 639 %; 2 % are 0\.02"):
        parse_experiment({"conditions": {"model": "m", "task": task}, "margin": {"log_perplexity": 2}}, "toy.yaml")


ANY_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    place=st.sampled_from(["arms", "seeds", "conditions", "conditions.task", "arms.lora.method", "margin"]),
    value=ANY_YAML,
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_in_a_file_it_reads_or_says_why_not(place: str, value: Any) -> None:
    with contextlib.suppress(MistakesError):  # anything else fails the test
        parse_experiment(changed(place, value), "toy.yaml")
