"""The folder of an experiment: one file a finished trial, written whole or not at all.

experiment.json      the experiment, as last run
trials/ID.json       a Measurement or a Failure
checkpoints/         of trials under way
tokens/              the texts, tokenised once for all trials
models/ARM/seed-N-lrR/  the model of a final trial, with its tokenizer
texts.json           the test texts, as long as a report shows them
report.html, report.md, charts/, results.csv, results.parquet
"""

from __future__ import annotations

import glob
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from loralab.data.rows import Text
from loralab.errors import UserError
from loralab.experiment import Experiment, Trial
from loralab.pretrained import are_others
from loralab.results import SCHEMA, Failure, Measurement, ResultFile
from loralab.settings import Settings
from loralab.writing import write_whole

_TEXTS: TypeAdapter[dict[str, Text]] = TypeAdapter(dict[str, Text])


class ResultsFolder:
    """Keeps the results of one experiment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process. Raises UserError where another one holds it, or it can't be written."""
        lock = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path}: another loralab is at work here; wait for it, or choose another --out"
            ) from None
        except OSError as error:
            raise UserError(f"{self.path} can't be written: {error}; choose another --out") from None
        try:
            yield
        finally:
            lock.release()

    def holds_experiment(self) -> bool:
        """Tell whether an experiment was run here."""
        return (self.path / "experiment.json").is_file()

    def keep_experiment(
        self, experiment: Experiment, revisions: Callable[[], tuple[str, str]], data_sha256: str
    ) -> None:
        """Write down the experiment, so that the report can be made again, if it has the folder's model and data.

        `revisions`: gives those of the model and of its tokenizer, which may take hashing a large file.

        Raises UserError where the folder belongs to an experiment under other conditions, with other weights or another
        tokenizer, on other rows, or with another method under an arm's name. Arms, seeds and learning rates may come
        and go.
        """
        if self.holds_experiment():
            stored = self.experiment()
            before, now = stored.conditions, experiment.conditions
            differences = [f"conditions.{line}" for line in _differences(before, now)]
            for name, arm in experiment.arms.items():
                method = stored.arms[name].method if name in stored.arms else self._method_of(name)
                if method is not None:
                    differences += [f"arms.{name}.method.{line}" for line in _differences(method, arm.method)]
            if (seen := self._any_measurement()) is not None:
                if seen.data.sha256 != data_sha256:
                    differences.append("the data (other rows there than now)")
                model, tokenizer = revisions()
                if are_others(seen.sameness.model_revision, model):
                    differences.append("the model (other weights there than now)")
                if are_others(seen.sameness.tokenizer_revision, tokenizer):
                    differences.append("the tokenizer (other files there than now)")
            if differences:
                raise self._of_another(differences)
        write_whole(self.path / "experiment.json", experiment.model_dump_json(indent=2))

    def _any_measurement(self) -> Measurement | None:
        """Return what one of the trials here came to, or None where none is finished."""
        found = (_read(file) for file in sorted((self.path / "trials").glob("*.json")))
        return next((one for one in found if isinstance(one, Measurement)), None)

    def _method_of(self, arm: str) -> Settings | None:
        """Return the method of an arm that was carried out once and is no longer in the experiment."""
        for file in (self.path / "trials").glob(f"*-{glob.escape(arm)}-lr*.json"):
            trial = _read(file).trial
            if trial.arm == arm:
                return trial.method
        return None

    def experiment(self) -> Experiment:
        """Return the experiment as last run. Raises UserError where there is none."""
        file = self.path / "experiment.json"
        if not self.holds_experiment():
            raise UserError(f"{self.path}: no experiment.json; give the folder of an experiment that was run")
        try:
            return Experiment.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise UserError(
                f"{file} was written by another version of loralab, or changed since ({error.error_count()} settings "
                "don't fit); run the experiment into another folder"
            ) from None

    def keep(self, result: Measurement | Failure) -> None:
        """Write down a result. What could go on from its checkpoint no longer needs to, unless it was killed."""
        text = ResultFile(schema_version=SCHEMA, result=result).model_dump_json()
        write_whole(self._file(result.trial), text)
        if result.is_answer:
            self.checkpoint_file(result.trial).unlink(missing_ok=True)

    def result(self, trial: Trial) -> Measurement | Failure | None:
        """Return what is known of `trial`, if anything.

        Raises UserError where the folder holds a trial of the same name under other conditions.
        """
        file = self._file(trial)
        if not file.exists():
            return None
        found = _read(file)
        if found.trial != trial:
            raise self._of_another(_differences(found.trial, trial))
        return found

    def keep_texts(self, texts: Mapping[str, Text]) -> None:
        """Write down test texts by id: the report shows some, and the data may be elsewhere when it is made again."""
        write_whole(self.path / "texts.json", json.dumps(texts, ensure_ascii=False, indent=1))

    def texts(self) -> dict[str, Text]:
        """Return the texts that were kept: none where the file isn't there, or was damaged."""
        try:
            return _TEXTS.validate_json((self.path / "texts.json").read_bytes())
        except (OSError, ValidationError):
            return {}

    def best_validations(self, trial: Trial) -> dict[int, float]:
        """Return the lowest tuning score after each step that other learning rates of a tuning trial's arm had."""
        metric, best = trial.conditions.task.tuning_metric, dict[int, float]()
        for file in sorted((self.path / "trials").glob(f"tuning-{glob.escape(trial.arm)}-lr*.json")):
            found = _read(file)
            others = trial.model_copy(update={"learning_rate": found.trial.learning_rate})
            if isinstance(found, Measurement) and found.trial == others != trial:
                for point in found.curve:
                    if point.validation is not None:
                        best[point.step] = min(point.validation[metric], best.get(point.step, math.inf))
        return best

    def model_folder(self, trial: Trial) -> Path:
        """Return where the model of a final trial belongs."""
        return self.path / "models" / trial.arm / f"seed-{trial.seed}-lr{trial.learning_rate:g}"

    def checkpoint_file(self, trial: Trial) -> Path:
        """Return where the latest checkpoint of a trial under way belongs."""
        return self.path / "checkpoints" / f"{trial.id}.safetensors"

    def _of_another(self, differences: Sequence[str]) -> UserError:
        listed = "\n  ".join(sorted(differences))
        return UserError(
            f"{self.path} belongs to an experiment that differs in\n  {listed}\n"
            "give the same settings again, choose another --out, or remove the folder"
        )

    def _file(self, trial: Trial) -> Path:
        return self.path / "trials" / f"{trial.id}.json"


def _read(file: Path) -> Measurement | Failure:
    try:
        return ResultFile.model_validate_json(file.read_bytes()).result
    except ValidationError as error:
        raise UserError(
            f"{file} was written by another version of loralab, or changed since "
            f"({error.error_count()} fields don't fit); remove it to carry out the trial again"
        ) from None


def _differences(stored: Settings, asked: Settings) -> list[str]:
    """Return the settings in which the two differ, as 'place (stored, now asked)'."""
    before, now = flat(stored.model_dump(mode="json")), flat(asked.model_dump(mode="json"))
    return [
        f"{place} ({_told(before.get(place))} there, {_told(now.get(place))} now)"
        for place in sorted(before.keys() | now.keys())
        if before.get(place) != now.get(place)
    ]


def _told(value: object) -> str:
    return "not set" if value is None else repr(value)


def flat(value: object, place: str = "") -> dict[str, object]:
    """Return what nested settings hold, by place: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    if not isinstance(value, dict):
        return {place: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in flat(inner, f"{place}.{name}" if place else str(name)).items()
    }
