"""What a trial gave: a Measurement or a Failure. Unknown is None, never a stand-in number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field

from loralab.errors import UserError
from loralab.experiment import Trial
from loralab.pretrained import UNKNOWN_REVISION
from loralab.settings import Settings
from loralab.tasks.items import Items

SCHEMA: Literal[3] = 3  # of the files; raised when a field changes its meaning


class Point(Settings):
    """One point on a trial's curves. Training figures are means since the point before, with dropout on."""

    step: int  # optimizer steps so far
    epoch: float
    training_loss: float  # nats a text or, of a language model, a token
    training_accuracy: float | None  # None where there are no labels
    validation: dict[str, float] | None = None  # every metric, where validation was scored at this step


class Seconds(Settings):
    """Wall-clock seconds by what they were spent on, with the device synchronised. They don't overlap."""

    reading: float
    tokenising: float
    loading: float
    training: float
    validation: float
    checkpointing: float
    evaluation: float
    saving: float


class Held(Settings):
    """Bytes of what training holds all the time; what its peak has above them are activations and working memory."""

    weights: int  # of the whole network, frozen ones in the format in which training keeps them
    gradients: int  # of the trained ones
    optimizer: int


class Memory(Settings):
    """Peak memory by phase in bytes, above what was resident before the model was loaded."""

    training: int | None
    evaluation: int | None
    resident_before: int | None
    how: str  # how it was measured, or why it is unknown
    held: Held | None = None  # None where nothing was trained, and in results of older versions


class Throughput(Settings):
    """What training got through in a second of training time."""

    texts: float
    steps: float
    tokens: float  # real ones, not padding


class Parameters(Settings):
    """Counts of single weights; trainable ones are those with `requires_grad`."""

    trainable: int
    total: int


class DataFacts(Settings):
    """The data that a trial saw."""

    sha256: str
    label_names: tuple[str, ...]
    rows: dict[str, int]  # by split, and by set from elsewhere
    tokens: dict[str, int]  # real ones, likewise; of texts that are cut, those left
    truncated: dict[str, float]  # share of texts cut at `max_length`, by split
    shared: int  # texts of train that also stand in test
    shared_validation: int = 0  # texts of validation, likewise
    dropped: int  # texts that train and validation lost because test has them
    without_text: dict[str, int]  # rows of the source that were left out, by split
    without_label: dict[str, int] = Field(default_factory=dict)  # further ones


class Sameness(Settings):
    """What arms of one seed must share for their comparison to be fair, besides their conditions."""

    model_revision: str  # a hash of configuration and weights
    tokenizer_revision: str = UNKNOWN_REVISION  # a hash of the tokenizer's files
    head_sha256: str | None  # the head before training; None where there is none
    is_head_drawn: bool = True  # at random; else it is the checkpoint's own
    order_sha256: str | None  # texts in the order of training
    steps: int
    tokens: int  # real tokens trained on


class Check(Settings):
    """Something that must be true of every final trial, looked at after it; where one isn't, its arm is void."""

    name: str
    passed: bool
    seen: str  # what was looked at, and what it showed


RELOADED = "the saved model gives the same logits"  # what is checked of every model that is saved
MERGED = "the merged model gives the adapter's logits"  # and of every adapter that can be merged


class Course(Settings):
    """How training went, where that may differ from what was planned."""

    planned_steps: int
    kept_step: int  # the step whose weights were kept: the last one, or with early stopping the best
    micro_batch: int  # texts in a forward pass: fewer than the batch size where memory ran out
    resumed: tuple[int, ...] = ()  # steps after which it was stopped, and went on from a checkpoint


def _inside(folder: str) -> str:
    """Refuse a place outside: a results folder may come from anybody."""
    place = PureWindowsPath(folder)  # which splits at both kinds of slashes
    if place.drive or place.root or ".." in place.parts:
        raise ValueError("is no folder inside the results folder")
    return folder


class Saved(Settings):
    """A model on disk."""

    folder: Annotated[str, AfterValidator(_inside)]  # relative to the results folder
    bytes: int  # of the model's files, the tokenizer's left out
    loading: str  # the Python lines that load it


class Environment(Settings):
    """Where and with what a trial was carried out."""

    device: str
    device_name: str
    threads: int
    platform: str
    python: str
    precision: str  # of training
    versions: dict[str, str]
    commit: str | None  # of loralab itself, where it runs from a git checkout


class Measurement(Settings):
    """A finished trial."""

    kind: Literal["measurement"] = "measurement"
    trial: Trial
    scores: dict[str, float]  # on validation for tuning, on test for final
    items: Items | None  # of all that a final trial is scored on
    confusion: tuple[tuple[int, ...], ...] | None
    curve: tuple[Point, ...]
    seconds: Seconds
    memory: Memory
    throughput: Throughput | None  # None where nothing was trained
    parameters: Parameters
    saved: Saved | None
    data: DataFacts
    sameness: Sameness
    course: Course
    environment: Environment
    checks: tuple[Check, ...] = ()  # of a final trial that trained something
    probe: tuple[float, ...] = ()  # outputs for the first test items, which the saved model must give again

    @property
    def is_answer(self) -> bool:
        """Tell that the trial need not be carried out again, which of a failure depends on its reason."""
        return True


class Failure(Settings):
    """A trial without a measurement, and why.

    'out of memory', 'diverged' and 'losing' are answers about the arm. The others say nothing about it: the trial is
    carried out again when the experiment is run again.
    """

    kind: Literal["failure"] = "failure"
    trial: Trial
    reason: Literal["out of memory", "diverged", "losing", "crashed", "killed"]
    message: str
    traceback: str | None = None

    @property
    def is_answer(self) -> bool:
        """Tell whether carrying out the trial again could only fail again."""
        return self.reason in ("out of memory", "diverged", "losing")


Result = Annotated[Measurement | Failure, Discriminator("kind")]
ByArm = Mapping[str, Mapping[int, Measurement]]  # arm -> seed of the design -> measurement


class ResultFile(Settings):
    """What one file holds: a result and the version of its form."""

    schema_version: Literal[3]
    result: Result


def require_same_data(found: Measurement, sha256: str) -> None:
    """Raise UserError where the data are no longer those of the trial."""
    if found.data.sha256 != sha256:
        raise UserError(
            f"{found.trial.id}: the data changed while it was under way\n"
            "  put them back and run again, or run with the new ones into another folder"
        )
