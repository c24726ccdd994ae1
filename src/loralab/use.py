"""The models of a comparison, put to use: asked, side by side, and handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loralab import exporting, prediction
from loralab.comparison import compare
from loralab.data import asked
from loralab.data.records import Columns
from loralab.data.rows import Text
from loralab.errors import UserError
from loralab.exporting import Exported
from loralab.folder import ResultsFolder
from loralab.hub import as_path
from loralab.prediction import Prediction, SavedModel
from loralab.progress import Silent, Watcher
from loralab.report.card import card
from loralab.results import Measurement
from loralab.stored import stored
from loralab.writing import write_whole


def predict(
    folder: str | Path,
    arm: str,
    texts: Sequence[Text],
    seed: int | None = None,
    tokens: int = 50,
    *,
    watcher: Watcher | None = None,
) -> list[Prediction]:
    """Put `texts` to the model that `arm` saved in the results folder `folder`: that of `seed`, or of its first one.

    A classifier gives label probabilities; a language model goes on after the text by at most `tokens` tokens, each the
    likeliest one. Where the model reads pairs, `texts` are pairs, or the two texts of one. Raises UserError.
    """
    return open_model(folder, arm, seed, watcher=watcher).ask(texts, tokens)


def open_model(folder: str | Path, arm: str, seed: int | None = None, *, watcher: Watcher | None = None) -> SavedModel:
    """Return the model that `arm` saved in the results folder `folder`, of `seed` or of its first one, to ask again and
    again. Raises UserError."""
    experiment, results = stored(folder)
    models = prediction.measurements_of(arm, experiment, results)
    return SavedModel(_chosen(models, seed, as_path(folder), watcher or Silent()), as_path(folder))


def open_models(
    folder: str | Path, seed: int | None = None, *, watcher: Watcher | None = None
) -> dict[tuple[str, int], SavedModel]:
    """Return a model of every arm that saved one, by arm and seed: of `seed`, or else of the first that all arms have.

    An arm without a model of `seed` is left out. Raises UserError where none has one.
    """
    experiment, results = stored(folder)
    place, watcher = as_path(folder), watcher or Silent()
    finished = {one.trial.arm for one in results.values() if isinstance(one, Measurement) and one.saved is not None}
    if not finished:
        raise UserError(f"{folder}: no model is finished yet; 'loralab run' goes on from what is there")
    models = {arm: prediction.measurements_of(arm, experiment, results) for arm in experiment.arms if arm in finished}
    wanted = prediction.shared_seed(list(models.values())) if seed is None else seed
    if seed is not None and any(seed in of_arm for of_arm in models.values()):
        for arm in [arm for arm, of_arm in models.items() if seed not in of_arm]:
            watcher.warn(f"{arm} has no model of seed {seed}, and is left out")
            del models[arm]
    opened = {}
    for arm, of_arm in models.items():
        chosen = _chosen(of_arm, wanted, place, watcher)
        opened[arm, chosen.trial.seed - experiment.arms[arm].seed_offset] = SavedModel(chosen, place)
    return opened


def _chosen(models: Mapping[int, Measurement], seed: int | None, folder: Path, watcher: Watcher) -> Measurement:
    """Return the trial of an arm whose model is meant, after telling what speaks against relying on it."""
    chosen = prediction.pick(seed, models)
    for doubt in prediction.doubts(chosen, models, folder):
        watcher.warn(doubt)
    return chosen


def read_asked(folder: str | Path, file: str | Path) -> list[Text]:
    """Return the texts of a file for `predict`: lines of a text file, or rows of a table as the experiment reads them.

    Raises UserError.
    """
    return asked.read_asked(as_path(file), _columns(folder))


def asked_lines(folder: str | Path, text: str) -> list[str]:
    """Return the lines of a text for `predict`. Raises UserError where the model reads pairs."""
    return asked.lines(text, _columns(folder))


def _columns(folder: str | Path) -> Columns:
    return ResultsFolder(as_path(folder)).experiment().conditions.task.data.columns


def export(
    folder: str | Path,
    arm: str,
    to: str | Path,
    seed: int | None = None,
    *,
    merge: bool = False,
    watcher: Watcher | None = None,
) -> Exported:
    """Write the model that `arm` saved in the results folder `folder` into a folder `to` that transformers loads alone.

    It is the model of `seed`, or of the arm's first one; with `merge` an adapter becomes part of a whole model. A model
    card, README.md, says how it compares and how it was made. Raises UserError.
    """
    experiment, results = stored(folder)
    models = prediction.measurements_of(arm, experiment, results)
    chosen = _chosen(models, seed, as_path(folder), watcher or Silent())
    exported = exporting.export(chosen, as_path(folder), as_path(to), merge=merge)
    told = card(compare(experiment, results), chosen, exported.loading, exported.base)
    write_whole(as_path(to) / "README.md", told)
    return exported
