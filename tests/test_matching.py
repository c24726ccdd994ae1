"""Arms of matched parameters: the rank that comes nearest, found once and kept."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from conftest import MakeExperiment, toy_file
from loralab.errors import MistakesError
from loralab.experiment import Experiment
from loralab.files import parse_experiment
from loralab.inspection import inspect_arms
from loralab.matching import Growth, match_parameters
from loralab.methods import Lora


def lora(**changes: Any) -> dict[str, Any]:
    return {"kind": "lora", "rank": 8, "alpha": 16} | changes


def arm(method: dict[str, Any], match: str | None = None) -> dict[str, Any]:
    return {"method": method, "learning_rates": [1e-2]} | ({} if match is None else {"match_parameters": match})


def two_arms(make: MakeExperiment, method: dict[str, Any], matching: dict[str, Any]) -> Experiment:
    """An arm, and one that matches it."""
    return make(arms={"full": arm(method), "matched": arm(matching, "full")})


def method_of(experiment: Experiment, name: str = "matched") -> Lora:
    method = experiment.arms[name].method
    assert isinstance(method, Lora)
    return method


def test_the_rank_is_the_one_whose_parameters_are_nearest(make_experiment: MakeExperiment) -> None:
    # In each of two layers, query and value are 32 x 32, the two of the feed-forward part 32 x 64.
    attention, feed_forward = 2 * 2 * (32 + 32), 2 * 2 * (32 + 64)
    found = match_parameters(two_arms(make_experiment, lora(), lora(rank=1, alpha=4, targets=["feed-forward"])))
    assert abs(8 * attention - 5 * feed_forward) < abs(8 * attention - 6 * feed_forward)
    assert method_of(found) == Lora(rank=5, alpha=20, targets=("feed-forward",))
    assert method_of(found, "full") == Lora(rank=8, alpha=16)


METHODS = st.fixed_dictionaries(
    {
        "kind": st.just("lora"),
        "rank": st.sampled_from([2, 4, 10, 16]),
        "alpha": st.sampled_from([0.1, 1, 16, 33.3]),
        "targets": st.lists(
            st.sampled_from(["query", "attention", "projection", "feed-forward", "all-linear"]), min_size=1, max_size=2
        ),
        "init": st.sampled_from(["default", "orthogonal", "pissa"]),
        "bias": st.sampled_from(["none", "all", "lora_only"]),
    }
)


@settings(max_examples=10, deadline=None)
@given(method=METHODS, matching=METHODS)
def test_no_other_rank_comes_nearer_and_matching_twice_changes_nothing(
    make_experiment: MakeExperiment, method: dict[str, Any], matching: dict[str, Any]
) -> None:
    asked = two_arms(make_experiment, method, matching)
    try:
        found = match_parameters(asked)
    except MistakesError:  # no room for that rank, see below
        reject()
    assert match_parameters(found) == found
    chosen, before = method_of(found), method_of(asked)
    assert chosen.alpha / chosen.rank == pytest.approx(before.alpha / before.rank)
    step = 2 if chosen.init == "orthogonal" else 1
    ranks = [rank for rank in (chosen.rank - step, chosen.rank, chosen.rank + step) if 0 < rank <= 32]
    arms = {f"rank-{rank}": arm(chosen.model_dump() | {"rank": rank}) for rank in ranks}
    counts = inspect_arms(make_experiment(arms={"full": arm(method)} | arms))
    apart = {rank: abs(counts[f"rank-{rank}"].trainable - counts["full"].trainable) for rank in ranks}
    assert apart[chosen.rank] == min(apart.values())


def test_a_rank_that_matches_already_keeps_its_alpha_to_the_last_bit(make_experiment: MakeExperiment) -> None:
    assert 0.1 * 3 / 3 != 0.1
    experiment = two_arms(make_experiment, lora(rank=3), lora(rank=3, alpha=0.1))
    assert match_parameters(experiment) == experiment


@given(
    fixed=st.integers(0, 10**6), per_rank=st.integers(1, 10**6), wanted=st.integers(0, 10**9), step=st.integers(1, 2)
)
def test_the_nearest_rank_is_no_further_than_its_neighbours(fixed: int, per_rank: int, wanted: int, step: int) -> None:
    growth = Growth(fixed, per_rank)
    rank = growth.nearest_rank(wanted, step)
    assert rank >= 1
    assert rank % step == 0
    apart = abs(growth.at(rank) - wanted)
    assert apart <= abs(growth.at(rank + step) - wanted)
    assert rank == step or apart <= abs(growth.at(rank - step) - wanted)


def test_an_experiment_that_matches_nothing_comes_back_unread() -> None:
    experiment = parse_experiment(toy_file(Path("no model"), Path("no data")), "toy.yaml")
    assert match_parameters(experiment) is experiment


def test_a_rank_for_which_there_is_no_room_says_how_large_it_would_be(make_experiment: MakeExperiment) -> None:
    with pytest.raises(MistakesError) as caught:
        match_parameters(two_arms(make_experiment, {"kind": "full"}, lora(targets=["query"])))
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("arms.matched.match_parameters: to train as many parameters as full, ")
    assert mistake.endswith("has room for 32; take more targets, or match a smaller arm")


def test_an_arm_that_cant_be_adapted_is_told_once_with_its_place(make_experiment: MakeExperiment) -> None:
    arms = {
        "full": arm(lora(rank=33)),
        "one": arm(lora(), "full"),
        "two": arm(lora(), "full"),
        "three": arm(lora(targets=["nowhere"]), "four"),
        "four": arm(lora()),
    }
    with pytest.raises(MistakesError) as caught:
        match_parameters(make_experiment(arms=arms))
    first, second = caught.value.mistakes
    assert first.startswith("arms.full.method.rank: 33 is larger than the layer")
    assert second.startswith("arms.three.method.targets: 'nowhere' is neither a role")


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (
            {"full": arm({"kind": "full"}, "lora"), "lora": arm(lora())},
            ["full.match_parameters: only kind lora has a rank"],
        ),
        ({"full": arm(lora(), "full")}, ["full.match_parameters: an arm can't match itself; name another"]),
        (
            {"full": arm({"kind": "full"}), "lora-attention": arm(lora()), "x": arm(lora(), "lora-atention")},
            ["x.match_parameters: no arm is called 'lora-atention'; did you mean 'lora-attention'?"],
        ),
        (
            {"full": arm(lora(), "x"), "x": arm(lora(), "full")},
            ["full.match_parameters: x itself matches another arm", "x.match_parameters: full itself matches"],
        ),
        (
            {"full": arm({"kind": "bitfit"}, "ful")},
            ["full.match_parameters: only kind lora has a rank", "full.match_parameters: no arm is called 'ful'"],
        ),
    ],
)
def test_mistakes_in_matching_are_told_with_the_file(arms: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(MistakesError) as caught:
        parse_experiment(toy_file(Path("model"), Path("data"), arms=arms), "toy.yaml")
    found = caught.value.mistakes
    assert len(found) == len(expected)
    assert all(mistake.startswith(f"arms.{begin}") for mistake, begin in zip(found, expected, strict=True))
