"""loralab compares full fine-tuning with LoRA: one command, the same conditions for every arm, an honest answer.

The straight line: `read_experiment` -> `run` -> a `Comparison` and a report. Importing it imports no torch.
"""

from loralab.api import forecast, inspect, load, report, run
from loralab.comparison import Comparison, compare
from loralab.errors import UserError
from loralab.experiment import Arm, Conditions, Experiment
from loralab.files import read_experiment

__all__ = [
    "Arm",
    "Comparison",
    "Conditions",
    "Experiment",
    "UserError",
    "compare",
    "forecast",
    "inspect",
    "load",
    "read_experiment",
    "report",
    "run",
]
