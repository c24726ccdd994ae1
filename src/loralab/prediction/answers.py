"""Putting texts to a saved model, read as the texts were that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.special import softmax

from loralab.data import Rows
from loralab.data.rows import Text
from loralab.data.texts import whole_characters, without_markup
from loralab.engine.evaluation import predict as outputs_of
from loralab.errors import UserError
from loralab.inspection import memory_is_told
from loralab.methods.wrapping import known_warnings_ignored
from loralab.prediction.continuing import continuation
from loralab.prediction.saved import load
from loralab.pretrained import transformers_quiet
from loralab.results import Measurement
from loralab.tasks import Classification, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class LabelProbabilities:
    """What a classifier makes of a text."""

    text: Text
    probabilities: Mapping[str, float]  # by label, the most likely one first


@dataclass(frozen=True)
class Continuation:
    """How a language model goes on after a text."""

    text: str
    continuation: str


Prediction = LabelProbabilities | Continuation


class SavedModel:
    """A model that a trial saved in the results folder `folder`, loaded when it is first asked."""

    def __init__(self, measurement: Measurement, folder: Path) -> None:
        self._measurement, self._folder = measurement, folder
        self._loaded: tuple[Any, PreTrainedTokenizerBase] | None = None

    def ask(self, texts: Sequence[Text], tokens: int = 50) -> list[Prediction]:
        """Return what it makes of each text. `tokens`: the most that a language model adds. Raises UserError."""
        conditions = self._measurement.trial.conditions
        asked = _as_asked(texts, conditions.task)
        if not asked:
            return []
        with quietly(), memory_is_told(conditions.model):
            self._loaded = self._loaded or load(self._measurement, self._folder)
            model, tokenizer = self._loaded
            if isinstance(conditions.task, Classification):
                return [*_judge(self._measurement, model, tokenizer, asked)]
            read = _reader(conditions.task)
            return [
                Continuation(text, continuation(model, tokenizer, read(text), tokens)) for text in map(_single, asked)
            ]


def _as_asked(texts: Sequence[Text], task: Task) -> list[Text]:
    """Return a text, or a pair of texts, for each answer. Raises UserError where the model reads the other."""
    given: list[Text] = [texts] if isinstance(texts, str) else list(texts)
    columns = task.data.columns.texts
    is_about_pairs = len(columns) == 2
    if is_about_pairs and len(given) == 2 and not any(isinstance(text, tuple) for text in given):
        given = [(_single(given[0]), _single(given[1]))]
    if any(isinstance(text, tuple) != is_about_pairs for text in given):
        told = f"pairs ({' and '.join(columns)}): give exactly two" if is_about_pairs else "single texts: give no pairs"
        raise UserError(f"texts: this model was trained on {told}")
    return [_in_each(whole_characters, text) for text in given]


def _reader(task: Task) -> Callable[[str], str]:
    """Return what was done to the texts of the data before they were tokenised."""
    return without_markup if task.data.clean_markup else str


def _judge(
    measurement: Measurement, model: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]
) -> Iterator[LabelProbabilities]:
    task = measurement.trial.conditions.task
    read = tuple(_in_each(_reader(task), text) for text in texts)
    rows = Rows(ids=tuple(map(str, range(len(read)))), texts=read, labels=(0,) * len(read))  # no label is looked at
    logits = outputs_of(model, task, task.tokenise(rows, tokenizer), tokenizer, measurement.trial.conditions.batch_size)
    for text, shares in zip(texts, softmax(logits.astype(float), axis=1), strict=True):
        named = zip(measurement.data.label_names, map(float, shares), strict=True)
        yield LabelProbabilities(text, dict(sorted(named, key=itemgetter(1), reverse=True)))


def _in_each(change: Callable[[str], str], text: Text) -> Text:
    return change(text) if isinstance(text, str) else (change(text[0]), change(text[1]))


def _single(text: Text) -> str:
    assert isinstance(text, str)
    return text


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the libraries' remarks and progress bars out of the answers."""
    with transformers_quiet(), known_warnings_ignored():
        yield
