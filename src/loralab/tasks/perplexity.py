"""How the quality of a language model is scored, from what is stored of every document: no torch, no model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from loralab.tasks.items import CorpusScores, DocumentScores
from loralab.tasks.metrics import Metric

LOG_PERPLEXITY, BITS_PER_BYTE, LAST_WORD = "log_perplexity", "bits_per_byte", "last_word"


def corpus_metrics(others: Mapping[str, bool]) -> tuple[Metric, ...]:
    """Return the metrics of the set that the task is about, and then those of the `others`, named 'set/metric'.

    `others` says of each set whether the last word of its documents is scored.
    """
    found = [
        Metric(LOG_PERPLEXITY, "Perplexity", "perplexity", higher_is_better=False, scale="log"),
        Metric(BITS_PER_BYTE, "Bits per byte", "bits per byte", higher_is_better=False, scale="plain"),
    ]
    for name, last_word in others.items():
        of = f"on {name}"
        found += [
            Metric(f"{name}/{LOG_PERPLEXITY}", f"Perplexity, {name}", f"perplexity {of}", False, "log"),
            Metric(f"{name}/{BITS_PER_BYTE}", f"Bits per byte, {name}", f"bits per byte {of}", False, "plain"),
        ]
        if last_word:
            found.append(Metric(f"{name}/{LAST_WORD}", f"Last word, {name}", f"last words {of}", True, "share"))
    return tuple(found)


def corpus_scores(items: CorpusScores) -> dict[str, float]:
    """Return every metric by name."""
    found: dict[str, float] = {}
    for place, (name, scores) in enumerate(items.sets.items()):
        prefix = f"{name}/" if place else ""
        metrics = [LOG_PERPLEXITY, BITS_PER_BYTE, *([] if scores.last_words is None else [LAST_WORD])]
        for metric in metrics:
            means = document_contributions(metric, scores).mean(axis=0, dtype=np.float64)
            found[prefix + metric] = float(ratio_of_means(metric, means))
    return found


def document_contributions(metric: str, scores: DocumentScores) -> npt.NDArray[np.float64]:
    """Return (documents, columns): what each document adds to the sums from which `ratio_of_means` makes the metric."""
    if metric.endswith(LAST_WORD):
        assert scores.last_words is not None
        return np.asarray(scores.last_words, dtype=np.float64)[:, None]
    return np.stack([scores.nats, scores.tokens, scores.bytes], axis=1).astype(np.float64)


def ratio_of_means(metric: str, means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the metric, (...), from the means over documents of their contributions, (..., columns).

    Log perplexity is nats a token, weighted by tokens: documents count by their length. Bits a byte don't depend on
    how a tokenizer cuts the text.
    """
    if metric.endswith(LAST_WORD):
        return means[..., 0]
    if metric.endswith(BITS_PER_BYTE):
        return np.asarray(means[..., 0] / means[..., 2] / math.log(2))
    return np.asarray(means[..., 0] / means[..., 1])


def set_of(metric: str, items: CorpusScores) -> DocumentScores:
    """Return the documents that `metric` is about."""
    name, slash, _ = metric.rpartition("/")
    return items.sets[name] if slash else next(iter(items.sets.values()))
