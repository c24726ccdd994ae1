"""The training loss of a classifier: weighted and smoothed as asked, from the rows trained on alone."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loralab.data.rows import LabelledData, Rows
from loralab.data.sources import Data
from loralab.errors import UserError
from loralab.tasks import Classification

NAMES = ("ham", "spam", "news")
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0], [0.3, 0.2, 0.1]])


def task(**changes: Any) -> Classification:
    return Classification(data=Data(source="x"), **changes)


def data(labels: list[int]) -> LabelledData:
    train = Rows(tuple(map(str, labels)), tuple(map(str, labels)), tuple(labels))
    return LabelledData(train, train, train, NAMES)


def loss(asked: Classification, weights: tuple[float, ...] | None = None) -> float:
    class Fixed(torch.nn.Module):
        def forward(self, **_: Any) -> Any:
            return type("Output", (), {"logits": LOGITS})

    batch = {name: torch.ones(3, 2, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    return asked.loss(Fixed(), batch | {"labels": torch.tensor([0, 1, 2])}, weights).loss.item()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=200))
def test_balanced_weights_make_every_label_count_alike_and_the_mean_row_one(labels: list[int]) -> None:
    weights = task(class_weights="balanced").weights(data(labels))
    assert weights is not None
    totals = [weights[label] * labels.count(label) for label in set(labels)]
    assert totals == pytest.approx([len(labels) / 3] * len(totals))


def test_a_weight_can_be_given_for_some_labels_by_name() -> None:
    assert task(class_weights={"spam": 3}).weights(data([0, 1])) == (1.0, 3.0, 1.0)
    with pytest.raises(UserError, match="no label is called 'spom'; did you mean 'spam'"):
        task(class_weights={"spom": 3}).weights(data([0, 1]))


def test_the_loss_is_weighted_by_the_label() -> None:
    alone = [loss(task(), weights) for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    assert loss(task(), (2.0, 1.0, 0.5)) == pytest.approx(2 * alone[0] + alone[1] + 0.5 * alone[2])


def test_smoothing_mixes_the_labels_loss_with_that_of_all_labels_alike() -> None:
    """Szegedy et al. 2016, section 7: (1 - e) * loss(label) + e * mean over the labels of loss(label)."""
    spread = torch.nn.functional.log_softmax(LOGITS, dim=-1).mean(dim=-1).sum().item()
    assert loss(task(label_smoothing=0.1)) == pytest.approx(0.9 * loss(task()) - 0.1 * spread)
