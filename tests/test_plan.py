from collections.abc import Mapping
from typing import Any

import pytest

from conftest import MakeExperiment
from loralab.experiment import Experiment, Trial
from loralab.methods import Untouched
from loralab.plan import choose, count_trials, extra_trials, final_trials, tuning_trials
from loralab.results import Failure, Measurement

RATES = (1e-4, 1e-3, 1e-2)


@pytest.fixture(scope="module")
def three_rates(make_experiment: MakeExperiment) -> Experiment:
    arms = {
        "full": {"method": {"kind": "full"}, "learning_rates": RATES},
        "lora": {"method": {"kind": "lora", "rank": 2, "alpha": 4}, "learning_rates": RATES},
    }
    return make_experiment(arms=arms)


def measured(trial: Trial, log_loss: float) -> Measurement:
    """A measurement of which only the validation score matters."""
    construct: Any = Measurement.model_construct
    measurement: Measurement = construct(trial=trial, scores={"log_loss": log_loss})
    return measurement


def tuned(experiment: Experiment, scores: Mapping[str, tuple[float | None, ...]]) -> dict[str, Measurement | Failure]:
    results: dict[str, Measurement | Failure] = {}
    for trial in tuning_trials(experiment):
        rates = experiment.arms[trial.arm].learning_rates
        score = scores[trial.arm][rates.index(trial.learning_rate or 0)]
        failure = Failure(trial=trial, reason="diverged", message="")
        results[trial.id] = failure if score is None else measured(trial, score)
    return results


def test_every_arm_has_the_same_number_of_tries_on_a_seed_of_its_own(three_rates: Experiment) -> None:
    trials = tuning_trials(three_rates)
    assert [trial.arm for trial in trials] == ["full", "lora"] * 3
    assert {trial.seed for trial in trials}.isdisjoint(three_rates.seeds)


def test_the_rate_of_the_lowest_validation_loss_is_chosen(three_rates: Experiment) -> None:
    results = tuned(three_rates, {"full": (0.5, 0.3, 0.4), "lora": (0.6, 0.2, 0.9)})
    assert extra_trials(three_rates, results) == []
    assert {name: choice.rate for name, choice in choose(three_rates, results).items()} == {"full": 1e-3, "lora": 1e-3}


@pytest.mark.parametrize(
    ("full", "expected"),
    [
        ((0.3, 0.4, 0.5), 1e-5),  # best at the lower edge: one further down
        ((0.5, 0.4, 0.3), 1e-1),  # best at the upper edge: one further up
        ((None, None, None), 1e-5),  # nothing worked: a lower rate may
        ((0.3, None, None), 1e-5),
    ],
)
def test_an_arm_at_the_edge_tries_outward_and_the_others_between_their_best_and_a_neighbour(
    three_rates: Experiment, full: tuple[float | None, ...], expected: float
) -> None:
    results = tuned(three_rates, {"full": full, "lora": (0.6, 0.2, 0.3)})
    extra = {trial.arm: trial.learning_rate for trial in extra_trials(three_rates, results)}
    assert extra == {"full": pytest.approx(expected), "lora": pytest.approx(3.16e-3)}


def test_before_every_rate_was_tried_there_is_none_to_add_and_none_that_failed(three_rates: Experiment) -> None:
    results = tuned(three_rates, {"full": (0.5, None, 0.4), "lora": (0.6, 0.2, 0.3)})
    begun = {name: result for name, result in results.items() if result.trial.arm == "full"}
    assert extra_trials(three_rates, begun) == []
    choices = choose(three_rates, begun)
    assert (choices["lora"].rate, choices["lora"].tried) == (None, {})
    assert choices["full"].tried == {1e-4: 0.5, 1e-3: None, 1e-2: 0.4}


def test_the_extra_try_is_never_one_that_was_made(make_experiment: MakeExperiment) -> None:
    """Half-way between the best, 2e-5, and the second best, 8e-5, lies 4e-5, which was tried."""
    rates = [1e-5, 2e-5, 4e-5, 8e-5]
    methods = {"full": {"kind": "full"}, "lora": {"kind": "lora", "rank": 2, "alpha": 4}}
    arms = {name: {"method": method, "learning_rates": rates} for name, method in methods.items()}
    experiment = make_experiment(arms=arms)
    results = tuned(experiment, {"full": (0.5, 0.2, 0.4, 0.3), "lora": (0.1, 0.2, 0.3, 0.4)})
    extra = {trial.arm: trial.learning_rate for trial in extra_trials(experiment, results)}
    assert extra["full"] == pytest.approx(2.83e-5)


def test_the_extra_try_takes_part_in_the_choice(three_rates: Experiment) -> None:
    results = tuned(three_rates, {"full": (0.3, 0.4, 0.5), "lora": (0.6, 0.2, 0.3)})
    for trial, score in zip(extra_trials(three_rates, results), (0.25, 0.9), strict=True):
        results[trial.id] = measured(trial, score)
    choices = choose(three_rates, results)
    assert choices["full"].rate == pytest.approx(1e-5)
    assert choices["full"].is_at_edge
    assert choices["lora"].rate == 1e-3
    assert {len(choice.tried) for choice in choices.values()} == {4}


def test_an_arm_whose_every_rate_failed_has_no_final_trials(three_rates: Experiment) -> None:
    results = tuned(three_rates, {"full": (None, None, None), "lora": (0.6, 0.2, 0.9)})
    trials = final_trials(three_rates, choose(three_rates, results), three_rates.seeds)
    assert {trial.arm for trial in trials} == {"untouched", "lora"}


def test_an_arm_with_one_rate_is_not_tuned_and_asks_no_tries_of_the_others(make_experiment: MakeExperiment) -> None:
    arms = make_experiment().model_dump()["arms"]
    arms["full"]["learning_rates"] = [1e-3]
    experiment = make_experiment(arms=arms)
    assert "full" not in {trial.arm for trial in tuning_trials(experiment)}
    choice = choose(experiment, {})["full"]
    assert (choice.rate, choice.tried, choice.is_at_edge) == (1e-3, {}, False)


def test_arms_take_turns_within_a_seed_after_the_model_as_it_was(three_rates: Experiment) -> None:
    results = tuned(three_rates, {"full": (0.5, 0.3, 0.4), "lora": (0.6, 0.2, 0.9)})
    first, *trials = final_trials(three_rates, choose(three_rates, results), three_rates.seeds)
    assert isinstance(first.method, Untouched)
    assert [(trial.seed, trial.arm) for trial in trials] == [(0, "full"), (0, "lora"), (1, "full"), (1, "lora")]
    assert count_trials(three_rates) == ((6, 4 + 1), (6 + 2, 4 + 1))


def test_trials_have_names_of_their_own_and_come_back_from_json(three_rates: Experiment) -> None:
    trials = tuning_trials(three_rates)
    assert len({trial.id for trial in trials}) == len(trials)
    assert trials[0].id == "tuning-full-lr0.0001-seed1000000"
    assert Trial.model_validate_json(trials[-1].model_dump_json()) == trials[-1]
