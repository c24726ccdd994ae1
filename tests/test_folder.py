import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeExperiment
from loralab import api
from loralab.errors import UserError
from loralab.folder import ResultsFolder
from loralab.plan import tuning_trials
from loralab.pretrained import UNKNOWN_REVISION
from loralab.results import Failure

DATA = "hash"


def revisions() -> tuple[str, str]:
    return "a model", "a tokenizer"


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder(tmp_path / "results")


def test_a_result_comes_back_as_it_was(folder: ResultsFolder, make_experiment: MakeExperiment) -> None:
    trial = tuning_trials(make_experiment())[0]
    failure = Failure(trial=trial, reason="diverged", message="at step 3")
    assert folder.result(trial) is None
    folder.keep(failure)
    assert folder.result(trial) == failure


def test_a_file_is_written_whole_or_not_at_all(
    folder: ResultsFolder, make_experiment: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = tuning_trials(make_experiment())[0]
    first = Failure(trial=trial, reason="diverged", message="first")
    folder.keep(first)

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="No space left on device; everything finished before it is kept"):
        folder.keep(Failure(trial=trial, reason="diverged", message="second"))
    assert folder.result(trial) == first
    assert len(list((folder.path / "trials").iterdir())) == 1


def test_another_experiments_folder_is_refused_with_the_differences(
    folder: ResultsFolder, make_experiment: MakeExperiment
) -> None:
    trial = tuning_trials(make_experiment())[0]
    folder.keep(Failure(trial=trial, reason="diverged", message=""))
    conditions = trial.conditions.model_copy(update={"batch_size": 99})
    with pytest.raises(UserError, match=r"conditions\.batch_size \(8 there, 99 now\)"):
        folder.result(trial.model_copy(update={"conditions": conditions}))


def test_another_experiment_leaves_the_folder_as_it_was(folder: ResultsFolder, make_experiment: MakeExperiment) -> None:
    first = make_experiment()
    folder.keep_experiment(first, revisions, DATA)
    arms = dict(first.arms) | {"lora": first.arms["full"]}
    with pytest.raises(UserError, match=r"arms\.lora\.method\.kind \('lora' there, 'full' now\)"):
        folder.keep_experiment(first.model_copy(update={"arms": arms}), revisions, DATA)
    assert folder.experiment() == first
    more = first.model_copy(update={"seeds": (0, 1, 2)})
    folder.keep_experiment(more, revisions, DATA)
    assert folder.experiment() == more


def test_other_weights_or_rows_are_refused(finished: Path, tmp_path: Path) -> None:
    """A model's folder may be saved again, and a file of data replaced, between two calls."""
    folder = ResultsFolder(shutil.copytree(finished, tmp_path / "run"))
    experiment = folder.experiment()
    seen = next(iter(api.load(finished).measurements))
    model, tokenizer, data = seen.sameness.model_revision, seen.sameness.tokenizer_revision, seen.data.sha256
    assert UNKNOWN_REVISION not in (model, tokenizer)
    folder.keep_experiment(experiment, lambda: (model, tokenizer), data)
    folder.keep_experiment(experiment, lambda: (UNKNOWN_REVISION, UNKNOWN_REVISION), data)
    with pytest.raises(UserError, match=r"the model \(other weights there than now\)"):
        folder.keep_experiment(experiment, lambda: ("another", tokenizer), data)
    with pytest.raises(UserError, match=r"the tokenizer \(other files there than now\)"):
        folder.keep_experiment(experiment, lambda: (model, "another"), data)
    with pytest.raises(UserError, match=r"the data \(other rows there than now\)"):
        folder.keep_experiment(experiment, lambda: (model, tokenizer), "others")


def test_an_arm_that_comes_back_must_be_what_it_was(folder: ResultsFolder, make_experiment: MakeExperiment) -> None:
    whole = make_experiment()
    folder.keep_experiment(whole, revisions, DATA)
    trial = next(trial for trial in tuning_trials(whole) if trial.arm == "lora")
    folder.keep(Failure(trial=trial, reason="diverged", message=""))
    without = {name: arm for name, arm in whole.arms.items() if name != "lora"}
    folder.keep_experiment(whole.model_copy(update={"arms": without}), revisions, DATA)
    with pytest.raises(UserError, match=r"arms\.lora\.method\.kind"):
        folder.keep_experiment(
            whole.model_copy(update={"arms": without | {"lora": whole.arms["full"]}}), revisions, DATA
        )
    folder.keep_experiment(whole, revisions, DATA)


def test_a_file_of_another_version_is_refused(folder: ResultsFolder, make_experiment: MakeExperiment) -> None:
    trial = tuning_trials(make_experiment())[0]
    folder.keep(Failure(trial=trial, reason="diverged", message=""))
    file = next((folder.path / "trials").iterdir())
    content = json.loads(file.read_text())
    content["result"]["colour"] = "blue"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="was written by another version of loralab"):
        folder.result(trial)


def test_a_folder_serves_one_process_at_a_time(folder: ResultsFolder) -> None:
    with (
        folder.locked(),
        pytest.raises(UserError, match="another loralab is at work here"),
        ResultsFolder(folder.path).locked(),
    ):
        pass
    with ResultsFolder(folder.path).locked():
        pass


def test_a_folder_without_an_experiment_says_so(folder: ResultsFolder) -> None:
    with pytest.raises(UserError, match=r"no experiment\.json"):
        folder.experiment()
