"""What a saved model makes of texts, in words and numbers. Texts and labels may hold anything."""

from __future__ import annotations

from loralab.data.texts import printable
from loralab.prediction import Continuation, LabelProbabilities
from loralab.report.content import Table

MOST = 10  # labels shown


def text(found: LabelProbabilities | Continuation) -> str:
    """Write the text, a pair on two lines, or the text with what the model added."""
    if isinstance(found, Continuation):
        return printable(found.text + found.continuation)
    return printable(found.text if isinstance(found.text, str) else "\n".join(found.text))


def labels(found: LabelProbabilities) -> Table:
    """The most likely labels."""
    rows = [[printable(name), f"{100 * share:.1f} %"] for name, share in found.probabilities.items()]
    rest = [[f"and {len(rows) - MOST} more", ""]] if len(rows) > MOST else []
    return Table(["Label", "Probability"], rows[:MOST] + rest)
