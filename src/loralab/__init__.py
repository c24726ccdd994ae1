"""loralab compares full fine-tuning with LoRA: one command, the same conditions for every arm, an honest answer.

The straight line: `read_experiment` -> `run` -> a `Comparison` and a report. Importing it imports no torch.
"""

from loralab.api import beside, draft, forecast, inspect, load, report, run
from loralab.comparison import Comparison, compare
from loralab.errors import UserError
from loralab.experiment import Arm, Conditions, Experiment
from loralab.files import read_experiment
from loralab.prediction import Continuation, LabelProbabilities, SavedModel
from loralab.use import export, open_model, predict

__all__ = [
    "Arm",
    "Comparison",
    "Conditions",
    "Continuation",
    "Experiment",
    "LabelProbabilities",
    "SavedModel",
    "UserError",
    "beside",
    "compare",
    "draft",
    "export",
    "forecast",
    "inspect",
    "load",
    "open_model",
    "predict",
    "read_experiment",
    "report",
    "run",
]
