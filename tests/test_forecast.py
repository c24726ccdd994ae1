"""Forecasts: what a few real steps say of a whole experiment."""

import numpy as np
import pytest

from conftest import MakeExperiment
from loralab import api
from loralab.experiment import Experiment
from loralab.forecast import ArmForecast, Forecast
from loralab.plan import certain_trials, count_trials
from loralab.rehearsal import Rehearsal, _extrapolate
from loralab.report import planned
from loralab.results import Failure, Parameters


@pytest.fixture(scope="module")
def forecast(toy_experiment: Experiment) -> Forecast:
    return api.forecast(toy_experiment)


def test_every_arm_is_rehearsed(forecast: Forecast, toy_experiment: Experiment) -> None:
    assert list(forecast.arms) == list(toy_experiment.arms)
    for arm in forecast.arms.values():
        assert isinstance(arm.rehearsal, Rehearsal)
        assert arm.rehearsal.training_seconds > 0
        assert arm.fits
    least, most = forecast.seconds()
    assert 0 < least < most


def test_the_forecast_counts_what_a_trial_trains(forecast: Forecast, toy_experiment: Experiment) -> None:
    counted = api.inspect(toy_experiment)
    for name, arm in forecast.arms.items():
        assert isinstance(arm.rehearsal, Rehearsal)
        assert arm.rehearsal.parameters == counted[name]


def test_the_time_of_all_pieces_is_read_off_between_those_that_were_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still but for the work, which takes as many seconds as the square of a piece's size."""
    now = [0.0]
    monkeypatch.setattr("loralab.rehearsal.time.perf_counter", lambda: now[0])
    sizes = list(np.random.default_rng(0).integers(1, 100, size=500))

    def do(position: int) -> None:
        now[0] += float(sizes[position]) ** 2

    assert _extrapolate([5, 5, 5], do) == pytest.approx(sum(float(size) ** 2 for size in sizes[:3]))
    assert _extrapolate(sizes, do) == pytest.approx(sum(size**2 for size in sizes), rel=0.02)


def rehearsal(**changes: object) -> Rehearsal:
    seconds = {"training": 10.0, "validation": 2.0, "final": 5.0, "saving": 1.0}
    fields = {f"{name}_seconds": value for name, value in seconds.items()}
    memory = {"training_memory": 500, "evaluation_memory": 100, "free_memory": 1000, "micro_batch": 8, "spent": 0.0}
    return Rehearsal.model_validate({"parameters": Parameters(trainable=1, total=2), **fields, **memory, **changes})


def test_the_whole_is_the_sum_of_its_trials(make_experiment: MakeExperiment) -> None:
    """Three arms, two rates, two seeds: 6 tuning, 6 final and the untouched model's scoring, then 3 tries more."""
    experiment = make_experiment()
    found = Forecast(experiment, {name: ArmForecast(rehearsal(), overhead=4.0) for name in experiment.arms})
    assert count_trials(experiment) == ((6, 7), (9, 7))
    assert found.seconds() == (6 * 16 + 6 * 26 + 9, 6 * 16 + 6 * 26 + 9 + 3 * 16)


def test_at_most_counts_the_seeds_of_every_look(make_experiment: MakeExperiment) -> None:
    """Three arms, two rates; three seeds are sure, and nine more may follow."""
    experiment = make_experiment(seeds="auto")
    found = Forecast(experiment, {name: ArmForecast(rehearsal(), overhead=4.0) for name in experiment.arms})
    sure = 6 * 16 + 9 * 26 + 9
    assert found.seconds() == (sure, sure + 3 * 16 + 3 * 9 * 26)


def test_an_epoch_of_kept_outputs_is_read_off_from_pieces_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("loralab.rehearsal.time.perf_counter", lambda: now[0])
    sizes, seen = list(range(1, 101)), set[int]()

    def do(position: int) -> None:
        now[0] += 0.0 if position in seen else float(sizes[position])
        seen.add(position)

    assert _extrapolate(sizes, do, times_largest=False) == pytest.approx(sum(sizes), rel=0.02)
    assert _extrapolate(sizes, do, times_largest=False) == 0


def test_an_arm_that_needs_more_memory_than_is_free_does_not_fit() -> None:
    assert ArmForecast(rehearsal(), 0.0).fits
    assert ArmForecast(rehearsal(training_memory=1001), 0.0).fits is False


def test_an_arm_that_fails_in_rehearsal_is_a_row(make_experiment: MakeExperiment) -> None:

    experiment = make_experiment()
    failed = Failure(trial=certain_trials(experiment)[0], reason="out of memory", message="no")
    arms = {"full": ArmForecast(failed, 1.0), "lora": ArmForecast(rehearsal(), 1.0)}
    found = Forecast(make_experiment(arms={name: experiment.arms[name].model_dump() for name in arms}), arms)
    assert planned.forecast(found).rows[0][0] == "full"
    assert planned.forecast(found).rows[0][-1] == "out of memory"
    assert "without full" in planned.in_all(found)


def test_a_design_that_can_not_decide_its_margin_says_what_it_would_take(make_experiment: MakeExperiment) -> None:
    small = " ".join(planned.too_small(make_experiment(margin={"accuracy": 0.01}), test_rows=500))
    assert "this experiment's is 1" in small
    assert "To decide it would take" in small
    assert planned.too_small(make_experiment(margin={"accuracy": 0.2}), test_rows=500) == []
