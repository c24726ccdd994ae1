"""What is learnt and how it is scored. A task is one class; `Task` names the kinds."""

from loralab.tasks.classification import Classification

Task = Classification  # a second kind of task makes this a union, told apart by `kind`

__all__ = ["Classification", "Task"]
