"""The ranks of arms that are to train as many parameters as another arm."""

from __future__ import annotations

from dataclasses import dataclass

from loralab.errors import MistakesError, UserError
from loralab.experiment import Arm, Experiment
from loralab.inspection import Subject, memory_is_told, mistake_of, read_subject
from loralab.methods import Lora, Method


@dataclass(frozen=True)
class Growth:
    """How many parameters a method trains, by its rank: a straight line."""

    fixed: int  # of the head, of biases, of DoRA's lengths
    per_rank: int

    def at(self, rank: int) -> int:
        """Return the trained parameters at `rank`."""
        return self.fixed + self.per_rank * rank

    def nearest_rank(self, wanted: int, step: int) -> int:
        """Return the multiple of `step`, at least one, whose parameters are nearest to `wanted`, of two the lower."""
        below = max((wanted - self.fixed) // (self.per_rank * step), 1) * step
        return min(below, below + step, key=lambda rank: abs(self.at(rank) - wanted))


def match_parameters(experiment: Experiment) -> Experiment:
    """Return the experiment with the rank chosen of every arm that names another in `match_parameters`.

    Alpha keeps its ratio to the rank. An experiment whose ranks match already comes back as it is. Raises MistakesError
    with every arm that can't be adapted, or would need a larger rank than its targets have room for.
    """
    if all(arm.match_parameters is None for arm in experiment.arms.values()):
        return experiment
    subject = read_subject(experiment.conditions)
    arms: dict[str, Arm] = {}
    mistakes: list[str] = []
    with memory_is_told(experiment.conditions.model):
        for name in experiment.arms:
            try:
                arms[name] = _matched(experiment, name, subject)
            except UserError as error:
                mistakes.append(str(error))
    if mistakes:
        raise MistakesError("the experiment", list(dict.fromkeys(mistakes)))  # two arms may match one that has one
    return experiment.model_copy(update={"arms": arms})


def _matched(experiment: Experiment, name: str, subject: Subject) -> Arm:
    """Return the arm with its rank chosen, if it is to match another. Raises UserError, which names the arm."""
    arm = experiment.arms[name]
    other, method = arm.match_parameters, arm.method
    if other is None or not isinstance(method, Lora):
        return arm
    wanted = _trained(experiment.arms[other].method, other, subject)
    one, two = (_trained(method.model_copy(update={"rank": rank}), name, subject) for rank in (1, 2))
    rank = Growth(fixed=2 * one - two, per_rank=two - one).nearest_rank(wanted, 2 if method.init == "orthogonal" else 1)
    limit = method.largest_rank(subject.load())
    if rank > limit:
        raise UserError(
            f"arms.{name}.match_parameters: to train as many parameters as {other}, {wanted:,}, it would need rank "
            f"{rank:,}, and its smallest target has room for {limit:,}; take more targets, or match a smaller arm"
        )
    return arm.model_copy(update={"method": _of_rank(method, rank)})


def _trained(method: Method, arm: str, subject: Subject) -> int:
    """Return how many parameters are trained. Raises UserError, which names the arm."""
    if isinstance(method, Lora):
        # How A and B begin doesn't change how many they are; PiSSA would decompose every layer.
        method = method.model_copy(update={"init": "default"})
    try:
        return subject.parameters(method).trainable
    except UserError as error:
        raise UserError(mistake_of(arm, error)) from error


def _of_rank(method: Lora, rank: int) -> Lora:
    """Return the method at `rank`, its alpha in proportion; where that is its rank, the same bits of alpha too."""
    if rank == method.rank:
        return method
    return method.model_copy(update={"rank": rank, "alpha": method.alpha * rank / method.rank})
