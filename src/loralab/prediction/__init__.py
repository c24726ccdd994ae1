"""What a saved model makes of new texts: the probability of every label, or how a language model goes on."""

from loralab.prediction.answers import Continuation, LabelProbabilities, Prediction, SavedModel, quietly
from loralab.prediction.saved import doubts, measurements_of, pick, shared_seed

__all__ = [
    "Continuation",
    "LabelProbabilities",
    "Prediction",
    "SavedModel",
    "doubts",
    "measurements_of",
    "pick",
    "quietly",
    "shared_seed",
]
