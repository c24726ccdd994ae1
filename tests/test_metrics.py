import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loralab.tasks.items import LabelScores
from loralab.tasks.metrics import classification_scores, confusion, contributions, log_losses, score_of_means

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


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_a_metric_made_from_means_of_what_texts_contribute_is_the_metric(pairs: list[tuple[int, int]]) -> None:
    """By this, texts are drawn again for intervals."""
    labels, predictions = (tuple(column) for column in zip(*pairs, strict=True))
    ids, losses = tuple(map(str, range(len(pairs)))), (1.0,) * len(pairs)
    items = LabelScores(label_count=4, ids=ids, labels=labels, predictions=predictions, log_losses=losses)
    for name, score in classification_scores(items).items():
        means = contributions(name, items).mean(axis=0, dtype=np.float64)
        assert float(score_of_means(name, means)) == pytest.approx(score, abs=1e-6)


def test_the_confusion_matrix_has_true_labels_in_rows_and_one_for_labels_never_seen() -> None:
    assert confusion(judged(4)) == ((2, 1, 0, 0), (0, 2, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))


def test_log_losses_are_exact_even_for_large_logits() -> None:
    logits = np.array([[0, 0], [1000, 0]], dtype=np.float32)
    assert log_losses(logits, [0, 1]) == pytest.approx([np.log(2), 1000.0])
