"""How the quality of a classifier is scored, from stored predictions alone: no torch, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Metric:
    """A score of quality. `title` is what a person reads; a fraction is shown in per cent."""

    name: str
    title: str
    higher_is_better: bool
    is_fraction: bool
    margin: float = 0.02  # the smallest difference that matters, where an experiment names none


CLASSIFICATION = (
    Metric("accuracy", "Accuracy", higher_is_better=True, is_fraction=True),
    Metric("f1_macro", "F1, macro", higher_is_better=True, is_fraction=True),
    Metric("precision_macro", "Precision, macro", higher_is_better=True, is_fraction=True),
    Metric("recall_macro", "Recall, macro", higher_is_better=True, is_fraction=True),
    Metric("f1_weighted", "F1, weighted", higher_is_better=True, is_fraction=True),
    Metric("precision_weighted", "Precision, weighted", higher_is_better=True, is_fraction=True),
    Metric("recall_weighted", "Recall, weighted", higher_is_better=True, is_fraction=True),
    Metric("log_loss", "Log loss", higher_is_better=False, is_fraction=False),
)


def log_losses(logits: npt.NDArray[np.float32], labels: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return each row's negative log-likelihood of its label, in nats. `logits`: (rows, labels)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalised = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses: npt.NDArray[np.float64] = -normalised[np.arange(len(labels)), np.asarray(labels)]
    return losses


def classification_scores(
    labels: Sequence[int], predictions: Sequence[int], losses: Sequence[float], label_count: int
) -> dict[str, float]:
    """Return every metric of `CLASSIFICATION` by name.

    Averages run over all labels of the data set. A label that was never predicted has precision 0, and one that never
    occurred has recall 0 (scikit-learn's `zero_division=0`).
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    scores = {"accuracy": float(accuracy_score(labels, predictions)), "log_loss": float(np.mean(losses))}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, predictions, labels=range(label_count), average=average, zero_division=0
        )
        scores |= {
            f"precision_{average}": float(precision),
            f"recall_{average}": float(recall),
            f"f1_{average}": float(f1),
        }
    return {metric.name: scores[metric.name] for metric in CLASSIFICATION}


def confusion(labels: Sequence[int], predictions: Sequence[int], label_count: int) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix: rows are true labels, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predictions, labels=range(label_count))
    return tuple(tuple(int(count) for count in row) for row in counts)
