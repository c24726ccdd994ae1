"""Checkpoints within a trial: killed after an hour, it loses minutes and goes on with the same numbers, bit for bit."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from loralab.engine.stepping import Taken
from loralab.errors import UserError
from loralab.experiment import Trial
from loralab.measure import Spent, environment
from loralab.results import Environment, Point
from loralab.settings import Settings
from loralab.writing import draft_of

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]

EVERY = 120.0  # seconds between two checkpoints, if LORALAB_CHECKPOINT_SECONDS says no other,
COST = 0.02  # unless writing them would take more than this share of the time


def _every() -> float:
    asked = os.environ.get("LORALAB_CHECKPOINT_SECONDS")
    try:
        return float(asked) if asked else EVERY
    except ValueError:
        raise UserError(f"LORALAB_CHECKPOINT_SECONDS: {asked!r} is no number of seconds, such as 60") from None


class Standing(Settings):
    """Where training stands after a step: all that the steps to come depend on, tensors aside."""

    done: int = 0  # steps
    curve: tuple[Point, ...] = ()
    tokens: int = 0  # real ones
    loss: float = 0.0  # sums since the last point of the curve: of the loss in nats,
    correct: int | None = 0  # of right answers, None where there are no labels,
    terms: int = 0  # and of the loss's terms: texts, or tokens of a language model
    best_step: int | None = None  # the step of the lowest validation score, where training may stop early
    best_score: float | None = None
    waited: int = 0  # validations since then
    resumed: tuple[int, ...] = ()  # steps after which training was stopped, and went on

    @property
    def mean_loss(self) -> float:
        """The loss since the last point of the curve, in nats a term."""
        return self.loss / self.terms

    def after(self, tokens: int, taken: Taken) -> Standing:
        """Return the standing after one more step, on so many tokens."""
        correct = None if self.correct is None or taken.correct is None else self.correct + taken.correct
        sums = {"loss": self.loss + taken.loss, "correct": correct, "terms": self.terms + taken.terms}
        return self.model_copy(update={"done": self.done + 1, "tokens": self.tokens + tokens, **sums})

    def with_point(self, epoch: float, validation: dict[str, float] | None) -> Standing:
        """Return the standing with a point on the curve; the sums begin anew."""
        point = Point(
            step=self.done,
            epoch=epoch,
            training_loss=self.mean_loss,
            training_accuracy=None if self.correct is None else self.correct / self.terms,
            validation=validation,
        )
        return self.model_copy(update={"curve": (*self.curve, point), "loss": 0.0, "correct": 0, "terms": 0})

    def judged(self, score: float) -> Standing:
        """Return the standing after a validation that gave `score`, of which less is better."""
        if self.best_score is None or score < self.best_score:
            return self.model_copy(update={"best_step": self.done, "best_score": score, "waited": 0})
        return self.model_copy(update={"waited": self.waited + 1})

    def gone_on(self) -> Standing:
        """Return the standing of a training that was stopped here and goes on."""
        return self.model_copy(update={"resumed": (*self.resumed, self.done)})


class Origin(Settings):
    """What a training must share with the one that wrote a checkpoint to go on from it with the same numbers."""

    trial: Trial
    model_revision: str
    tokenizer_revision: str
    data_sha256: str
    micro_batch: int  # texts in a forward pass: other parts add up to other numbers in the last digits,
    precision: str  # and so do other formats,
    where: str  # machines, threads or versions


def where(environment: Environment) -> str:
    """Return what of the machine and the software changes the numbers."""
    machine = (environment.device_name, environment.device, f"{environment.threads} threads")
    software = [f"{library} {version}" for library, version in environment.versions.items()]
    return ", ".join([*machine, *software, f"commit {environment.commit}"])


class Header(Settings):
    """What a checkpoint says of itself."""

    origin: Origin
    standing: Standing
    spent: Spent


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read."""

    standing: Standing
    spent: Spent
    tensors: Tensors

    def part(self, name: str) -> Tensors:
        """Return the tensors that were written as the part `name`."""
        return {
            key.removeprefix(f"{name}:"): tensor for key, tensor in self.tensors.items() if key.startswith(f"{name}:")
        }


class Checkpoints:
    """The one file of a trial under way: always the latest checkpoint, written whole or not at all."""

    def __init__(self, file: Path, origin: Origin) -> None:
        self._file, self._origin = file, origin
        self._every = _every()
        self._written = time.perf_counter()
        self._cost = 0.0

    def are_due(self) -> bool:
        """Tell whether it is time for the next one."""
        return time.perf_counter() - self._written >= max(self._every, self._cost / COST)

    def write(self, standing: Standing, spent: Spent, parts: Mapping[str, Tensors]) -> None:
        """Replace the checkpoint. A disk that is full costs the checkpoint, not the training."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        begun = time.perf_counter()
        header = Header(origin=self._origin, standing=standing, spent=spent)
        tensors = {f"{part}:{name}": one.contiguous() for part, kept in parts.items() for name, one in kept.items()}
        with suppress(OSError, SafetensorError), draft_of(self._file) as draft:
            save_file(tensors, draft, {"header": header.model_dump_json()})
        self._written = time.perf_counter()
        self._cost = self._written - begun

    def latest(self) -> Checkpoint | None:
        """Return the checkpoint of this very origin, if there is one that can be read."""
        for draft in self._file.parent.glob(f".{glob.escape(self._file.name)}.[0-9]*"):  # of a process that was killed
            with suppress(OSError):
                draft.unlink()
        header = _header(self._file)
        if header is None or header.origin != self._origin:
            return None
        return Checkpoint(header.standing, header.spent, _tensors(self._file))


def micro_batch_of(file: Path, trial: Trial, device: torch.device) -> int | None:
    """Return how many texts were in a forward pass when `trial` was stopped, or None where it begins anew."""
    header = _header(file)
    if header is None or header.origin.trial != trial:
        return None
    origin = header.origin
    return origin.micro_batch if origin.where == where(environment(device, origin.precision)) else None


def _header(file: Path) -> Header | None:
    """Return what the file says of itself, or None where there is none, or it is damaged or of another version."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        return None
    try:
        with safe_open(file, "numpy") as opened:
            return Header.model_validate_json(opened.metadata()["header"])
    except (OSError, SafetensorError, ValidationError, KeyError, TypeError):
        return None


def _tensors(file: Path) -> Tensors:
    """Return copies: the originals would keep the file open, and count as memory that training needs."""
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118 - it is no mapping


def random_state() -> dict[str, torch.Tensor]:
    """Return the state of the generators that dropout draws from."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    if torch.xpu.is_available():
        states["xpu"] = torch.xpu.get_rng_state()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_state(states: Mapping[str, torch.Tensor]) -> None:
    """Go on drawing where `random_state` was taken."""
    import torch

    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
    if "xpu" in states:
        torch.xpu.set_rng_state(states["xpu"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])
