"""A learning rate that is far behind another of its arm is given up, by one rule for all, if that was asked for."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from conftest import MakeExperiment
from loralab.errors import LosingError
from loralab.experiment import Trial
from loralab.fitting import _give_up_if_losing
from loralab.folder import ResultsFolder
from loralab.plan import choose, final_trials, tuning_trials
from loralab.results import Failure, Measurement
from loralab.train import attempt

ARMS = {
    "full": {"method": {"kind": "full"}, "learning_rates": [3e-3, 3.0]},
    "head-only": {"method": {"kind": "head-only"}, "learning_rates": [1e-2, 100.0]},
}


def carried_out(trials: list[Trial], folder: Path) -> list[Measurement | Failure]:
    results = []
    for trial in trials:
        results.append(attempt(trial, folder, lambda progress: None))
        ResultsFolder(folder).keep(results[-1])
    return results


def asked(make_experiment: MakeExperiment, give_up: float | None) -> list[Trial]:
    experiment = make_experiment(arms=ARMS)
    conditions = experiment.conditions.model_copy(update={"give_up": give_up})
    return tuning_trials(experiment.model_copy(update={"conditions": conditions}))


@pytest.mark.parametrize("better_first", [True, False])
def test_the_worse_of_two_rates_is_given_up_once_the_better_one_is_known(
    better_first: bool, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    trials = asked(make_experiment, give_up=1.5)
    trials.sort(key=lambda trial: trial.learning_rate or 0, reverse=not better_first)
    found = carried_out(trials, tmp_path)
    reasons = [one.reason if isinstance(one, Failure) else "" for one in found]
    assert reasons == (["", "", "losing", "losing"] if better_first else ["", "", "", ""])
    lost = [one for one in found if isinstance(one, Failure)]
    assert all("at step 30 validation gave" in one.message and one.is_answer for one in lost)


@pytest.mark.parametrize(("found", "is_losing"), [(1.49, False), (1.51, True)])
def test_a_rate_is_losing_from_the_factor_on(found: float, is_losing: bool, make_experiment: MakeExperiment) -> None:
    (trial, *_) = asked(make_experiment, give_up=1.5)
    with pytest.raises(LosingError) if is_losing else nullcontext():
        _give_up_if_losing(trial, 30, {"log_loss": found}, {30: 1.0})


def test_nothing_is_given_up_unasked(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    found = carried_out(asked(make_experiment, give_up=None), tmp_path)
    assert all(isinstance(one, Measurement) for one in found)


def test_what_is_given_up_is_no_choice_and_final_trials_are_never_given_up(
    make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    trials = asked(make_experiment, give_up=1.5)
    results = {one.trial.id: one for one in carried_out(trials, tmp_path)}
    experiment = make_experiment(arms=ARMS)
    experiment = experiment.model_copy(update={"conditions": trials[0].conditions})
    choices = choose(experiment, results)
    assert {name: choice.rate for name, choice in choices.items()} == {"full": 3e-3, "head-only": 1e-2}
    assert not any(trial.may_be_given_up for trial in final_trials(experiment, choices, experiment.seeds))


def test_other_arms_and_other_conditions_are_no_rivals(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    trials = asked(make_experiment, give_up=1.5)
    carried_out(trials[:1], tmp_path)
    folder = ResultsFolder(tmp_path)
    same_arm = next(one for one in trials if one.arm == trials[0].arm and one != trials[0])
    other_arm = next(one for one in trials if one.arm != trials[0].arm)
    assert sorted(folder.best_validations(same_arm)) == [30, 60]
    assert folder.best_validations(other_arm) == {}
    assert folder.best_validations(trials[0]) == {}
    shorter = same_arm.conditions.model_copy(update={"epochs": 1})
    assert folder.best_validations(same_arm.model_copy(update={"conditions": shorter})) == {}
