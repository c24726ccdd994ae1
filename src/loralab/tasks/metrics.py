"""How the quality of a classifier is scored, from stored predictions alone: no torch, no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from loralab.tasks.items import LabelScores

Scale = Literal["share", "log", "plain"]


@dataclass(frozen=True)
class Metric:
    """A score of quality. `title` heads a column, `phrase` stands in a sentence.

    A share of the items is shown in per cent, and differences of it in points. What is on the log scale is shown as
    what it is the logarithm of, and differences of it as a change in per cent.
    """

    name: str
    title: str
    phrase: str
    higher_is_better: bool
    scale: Scale
    margin: float = 0.02  # the smallest difference that matters, where an experiment names none


CLASSIFICATION = (
    Metric("accuracy", "Accuracy", "accuracy", higher_is_better=True, scale="share"),
    Metric("f1_macro", "F1, macro", "macro F1", higher_is_better=True, scale="share"),
    Metric("precision_macro", "Precision, macro", "macro precision", higher_is_better=True, scale="share"),
    Metric("recall_macro", "Recall, macro", "macro recall", higher_is_better=True, scale="share"),
    Metric("f1_weighted", "F1, weighted", "weighted F1", higher_is_better=True, scale="share"),
    Metric("precision_weighted", "Precision, weighted", "weighted precision", higher_is_better=True, scale="share"),
    Metric("recall_weighted", "Recall, weighted", "weighted recall", higher_is_better=True, scale="share"),
    Metric("log_loss", "Log loss", "log loss", higher_is_better=False, scale="plain"),
)


def log_losses(logits: npt.NDArray[np.float32], labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return each row's negative log-likelihood of its label, in nats. `logits`: (rows, labels)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalised = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses: npt.NDArray[np.float64] = -normalised[np.arange(len(normalised)), np.asarray(labels)]
    return losses


def classification_scores(items: LabelScores) -> dict[str, float]:
    """Return every metric of `CLASSIFICATION` by name.

    Averages run over all labels of the data set. A label that was never predicted has precision 0, and one that never
    occurred has recall 0 (scikit-learn's `zero_division=0`).
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    labels, predictions = items.labels, items.predictions
    scores = {"accuracy": float(accuracy_score(labels, predictions)), "log_loss": float(np.mean(items.log_losses))}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, predictions, labels=range(items.label_count), average=average, zero_division=0
        )
        scores |= {
            f"precision_{average}": float(precision),
            f"recall_{average}": float(recall),
            f"f1_{average}": float(f1),
        }
    return {metric.name: scores[metric.name] for metric in CLASSIFICATION}


def contributions(metric: str, items: LabelScores) -> npt.NDArray[np.float32]:
    """Return (items, columns): what each item adds to the sums from which `score_of_means` makes the metric."""
    true, predicted = np.asarray(items.labels), np.asarray(items.predictions)
    if metric == "log_loss":
        return np.asarray(items.log_losses, dtype=np.float32)[:, None]
    if metric == "accuracy":
        return np.asarray(true == predicted, dtype=np.float32)[:, None]
    names = np.arange(items.label_count)
    of_true, of_predicted = true[:, None] == names, predicted[:, None] == names
    return np.concatenate([of_true & of_predicted, of_predicted, of_true], axis=1, dtype=np.float32)


def score_of_means(metric: str, means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the metric, (...), from the means over items of its contributions, (..., columns).

    It is `classification_scores` for many weightings of the items at once.
    """
    if metric in ("log_loss", "accuracy"):
        return means[..., 0]
    kind, average = metric.split("_")
    hits, predicted, true = np.split(means, 3, axis=-1)
    upper, lower = {"precision": (hits, predicted), "recall": (hits, true), "f1": (2 * hits, predicted + true)}[kind]
    of_labels = np.divide(upper, lower, out=np.zeros_like(upper), where=lower > 0)
    averaged: npt.NDArray[np.float64] = (
        of_labels.mean(axis=-1) if average == "macro" else (of_labels * true).sum(axis=-1) / true.sum(axis=-1)
    )
    return averaged


def confusion(items: LabelScores) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix: rows are true labels, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(items.labels, items.predictions, labels=range(items.label_count))
    return tuple(tuple(int(count) for count in row) for row in counts)
