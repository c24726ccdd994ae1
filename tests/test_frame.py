"""Results as tables: one row a trial, the same in a file and in memory."""

from pathlib import Path

import pandas as pd
import pytest

from loralab import api
from loralab.comparison import Comparison, compare
from loralab.frame import table
from loralab.results import Failure


@pytest.fixture(scope="module")
def comparison(finished: Path) -> Comparison:
    return api.load(finished)


def test_there_is_one_row_for_each_trial_with_its_scores_and_costs(comparison: Comparison) -> None:
    frame = comparison.to_frame().set_index("trial")
    assert set(frame.index) == set(comparison.results)
    for found in comparison.measurements:
        row = frame.loc[found.trial.id]
        assert row["accuracy"] == found.scores["accuracy"]
        assert row["training_seconds"] == found.seconds.training
        assert row["trainable_parameters"] == found.parameters.trainable
        assert row["outcome"] == "measured"
        assert row["weights_bytes"] > 0


def test_the_files_hold_what_the_frame_holds(comparison: Comparison, finished: Path) -> None:
    frame = comparison.to_frame()
    pd.testing.assert_frame_equal(pd.read_parquet(finished / "results.parquet"), frame)
    read = pd.read_csv(finished / "results.csv")
    assert list(read.columns) == list(frame.columns)
    assert read["accuracy"].tolist() == pytest.approx(frame["accuracy"].tolist())


def test_a_failure_is_a_row_with_its_reason_and_empty_costs(comparison: Comparison) -> None:
    first = comparison.measurements[0]
    failure = Failure(trial=first.trial, reason="out of memory", message="12 GB")
    frame = table([failure, comparison.measurements[1]]).to_pandas()
    assert frame.loc[0, ["outcome", "message"]].tolist() == ["out of memory", "12 GB"]
    assert pd.isna(frame.loc[0, "accuracy"])


def test_memory_is_told_by_its_causes(comparison: Comparison) -> None:
    for found in comparison.measurements:
        held = found.memory.held
        assert held is not None
        assert held.gradients == 4 * found.parameters.trainable
        assert held.weights >= 4 * found.parameters.total
        # AdamW keeps two moments of each weight, and how many steps it took.
        assert 8 * found.parameters.trainable <= held.optimizer <= 8 * found.parameters.trainable + 1000


def test_a_notebook_shows_the_answer_with_its_texts_escaped(comparison: Comparison) -> None:
    arms = {"<b>lora" if name == "lora" else name: arm for name, arm in comparison.experiment.arms.items()}
    experiment = comparison.experiment.model_copy(update={"arms": arms})
    results = {}
    for one in comparison.results.values():
        trial = one.trial.model_copy(update={"arm": "<b>lora"}) if one.trial.arm == "lora" else one.trial
        results[trial.id] = one.model_copy(update={"trial": trial})
    shown = compare(experiment, results)._repr_html_()
    assert "&lt;b&gt;lora" in shown
    assert "<b>lora" not in shown
    assert "Over 2 seeds and 60 test texts" in shown
    assert shown.count("<table>") == 2
    assert "<svg" in shown
