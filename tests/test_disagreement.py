"""The texts on which arms disagree: found by their answers, the most confident errors first."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loralab import api
from loralab.comparison import compare
from loralab.disagreement import AT_MOST, disputed
from loralab.experiment import Experiment
from loralab.folder import ResultsFolder
from loralab.results import Check, Measurement
from loralab.tasks.items import LabelScores
from made_up import made_up, template, untuned


@pytest.fixture(scope="module")
def like(finished: Path) -> Measurement:
    return template(finished)


def test_only_texts_that_one_arm_gets_right_and_another_wrong_are_told(
    like: Measurement, toy_experiment: Experiment
) -> None:
    def right(arm: str, seed: int) -> np.ndarray:
        found = np.zeros(200, dtype=bool)
        found[100:] = True
        found[3] = arm == "full"
        found[150] = arm != "lora"
        return found

    experiment = untuned(toy_experiment)
    found = disputed(compare(experiment, made_up(like, experiment, right)))
    assert {one.id for one in found} == {"3", "150"}
    third = next(one for one in found if one.id == "3")
    assert [name for name, answer in third.answers.items() if answer.is_right] == ["full"]
    assert third.label == like.data.label_names[0]
    assert third.answers["full"].of_true_label == pytest.approx(math.exp(-0.1))


def test_a_text_on_which_an_arms_own_seeds_are_split_is_left_out(like: Measurement, toy_experiment: Experiment) -> None:
    def right(arm: str, seed: int) -> np.ndarray:
        found = np.ones(200, dtype=bool)
        found[3] = arm != "lora" or seed == 0
        found[4] = arm != "lora"
        return found

    experiment = untuned(toy_experiment, seeds=(0, 1))
    assert [one.id for one in disputed(compare(experiment, made_up(like, experiment, right)))] == ["4"]


def test_a_void_arm_has_no_say(like: Measurement, toy_experiment: Experiment) -> None:
    def right(arm: str, seed: int) -> np.ndarray:
        found = np.full(200, arm != "lora")
        found[3] = arm == "full"
        return found

    experiment = untuned(toy_experiment)
    results = made_up(like, experiment, right)
    broken = (Check(name="predictions name more than one label", passed=False, seen="one"),)
    for name, found in results.items():
        if found.trial.arm == "lora":
            results[name] = found.model_copy(update={"checks": broken})
    (only,) = disputed(compare(experiment, results))
    assert (only.id, set(only.answers)) == ("3", {"full", "head-only"})


def test_where_all_arms_agree_there_is_nothing_to_tell(like: Measurement, toy_experiment: Experiment) -> None:
    experiment = untuned(toy_experiment)
    results = made_up(like, experiment, lambda arm, seed: np.arange(200) < 90)
    assert disputed(compare(experiment, results)) == []


@given(st.lists(st.floats(0.01, 0.99), min_size=30, max_size=30))
@settings(max_examples=20, deadline=None)
def test_the_most_confident_errors_come_first_and_few_are_told(
    finished: Path, toy_experiment: Experiment, sure: list[float]
) -> None:
    like, experiment = template(finished), untuned(toy_experiment)
    results = made_up(like, experiment, lambda arm, seed: np.full(30, arm != "lora"))
    for name, result in results.items():
        assert isinstance(result.items, LabelScores)
        if result.trial.arm == "lora":
            losses = tuple(-math.log(share) for share in sure)
            results[name] = result.model_copy(update={"items": result.items.model_copy(update={"log_losses": losses})})
    found = [one.answers["lora"].of_true_label for one in disputed(compare(experiment, results))]
    assert found == pytest.approx(sorted(sure)[:AT_MOST])


def test_the_texts_are_kept_with_the_results_and_shown(finished: Path) -> None:
    comparison = api.load(finished)
    shown = disputed(comparison)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert shown
    assert "Where the arms disagree" in page
    assert page.count('<div class="disputed">') == len(shown)
    assert "not kept" not in page


class OutOfOrder:
    """A place where nothing can be carried out."""

    def run(self, *_: object) -> Iterator[Measurement]:
        raise OSError("out of order")
        yield


def test_a_run_that_is_under_way_has_its_texts_already(toy_experiment: Experiment, tmp_path: Path) -> None:
    """What is shown of them then is not what is shown at the end."""
    with pytest.raises(OSError, match="out of order"):
        api.run(toy_experiment, tmp_path, place=OutOfOrder())
    assert len(ResultsFolder(tmp_path).texts()) == 60
