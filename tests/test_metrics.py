import numpy as np
import pytest

from loralab.tasks.items import LabelScores
from loralab.tasks.metrics import classification_scores, confusion, log_losses

LABELS = (0, 0, 0, 1, 1, 2)
PREDICTIONS = (0, 0, 1, 1, 1, 0)


def judged(label_count: int) -> LabelScores:
    return LabelScores(
        label_count=label_count,
        ids=tuple("abcdef"),
        labels=LABELS,
        predictions=PREDICTIONS,
        log_losses=(1.0,) * 6,
    )


def test_scores_are_those_of_a_calculation_by_hand() -> None:
    scores = classification_scores(judged(3))
    precision, recall = [2 / 3, 2 / 3, 0], [2 / 3, 1, 0]
    f1 = [2 / 3, 4 / 5, 0]
    weights = [3 / 6, 2 / 6, 1 / 6]
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["precision_macro"] == pytest.approx(np.mean(precision))
    assert scores["recall_macro"] == pytest.approx(np.mean(recall))
    assert scores["f1_macro"] == pytest.approx(np.mean(f1))
    assert scores["precision_weighted"] == pytest.approx(np.dot(weights, precision))
    assert scores["f1_weighted"] == pytest.approx(np.dot(weights, f1))
    assert scores["log_loss"] == 1.0


def test_the_confusion_matrix_has_true_labels_in_rows_and_one_for_labels_never_seen() -> None:
    assert confusion(judged(4)) == ((2, 1, 0, 0), (0, 2, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))


def test_log_losses_are_exact_even_for_large_logits() -> None:
    logits = np.array([[0, 0], [1000, 0]], dtype=np.float32)
    assert log_losses(logits, [0, 1]) == pytest.approx([np.log(2), 1000.0])
