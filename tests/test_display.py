"""What is said while an experiment is carried out."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from loralab import display
from loralab.display import Display
from loralab.experiment import Stage
from loralab.progress import Progress
from loralab.results import Measurement
from made_up import template


class Clock:
    """A clock that is set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


@pytest.fixture(scope="module")
def like(finished: Path) -> Measurement:
    return template(finished)


def shown(watched: Display, clock: Clock, result: Measurement, stage: Stage, seconds: float, arm: str = "lora") -> None:
    """Let a trial of that stage begin and finish. It validated once, 10 rows in 2 seconds; test has 50."""
    point = result.curve[-1].model_copy(update={"validation": dict(result.scores)})
    trial = result.trial.model_copy(update={"stage": stage, "arm": arm})
    changes = {
        "trial": trial,
        "curve": (point,),
        "seconds": result.seconds.model_copy(update={"validation": 2.0}),
        "data": result.data.model_copy(update={"rows": {"train": 100, "validation": 10, "test": 50}}),
    }
    watched.begin(trial)
    clock.now += seconds
    watched.finish(result.model_copy(update=changes))


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_time_left_counts_on_final_trials_being_scored_on_test(clock: Clock, like: Measurement) -> None:
    console = Console(file=io.StringIO(), width=200)
    watched = Display(console)
    watched.expect(2, 5, 0)
    shown(watched, clock, like, "tuning", 100.0)
    assert lines(console)[-1].endswith("about 11 min left")  # 100 s of tuning, five times 100 and test's 10
    shown(watched, clock, like, "tuning", 100.0)
    assert lines(console)[-1].endswith("about 9.2 min left")
    shown(watched, clock, like, "final", 60.0)
    assert lines(console)[-1].endswith("about 4.0 min left")  # four more, and they are known now


def test_the_time_left_knows_that_arms_take_unlike_long(clock: Clock, like: Measurement) -> None:
    console = Console(file=io.StringIO(), width=200)
    watched = Display(console)
    watched.expect(2, 4, 0)
    shown(watched, clock, like, "tuning", 300.0, "full")
    shown(watched, clock, like, "tuning", 100.0, "lora")
    shown(watched, clock, like, "final", 300.0, "full")
    assert lines(console)[-1].endswith("about 10 min left")  # three more of 300 and 110 s in the mean, not of 300


def test_a_bar_of_unknown_length_does_not_keep_the_last_ones(like: Measurement) -> None:
    watched = Display(Console(file=io.StringIO(), width=200, force_terminal=True))
    watched.begin(like.trial)
    for moment in (Progress(like.trial.id, "training", 5, 10), Progress(like.trial.id, "saving")):
        watched.progress(moment)
    assert [task.total for task in watched._bars.tasks if task.description == like.trial.id] == [None]


def test_only_the_first_trial_is_announced_where_lines_are_not_overwritten(clock: Clock, like: Measurement) -> None:
    console = Console(file=io.StringIO(), width=200)
    watched = Display(console)
    watched.expect(2, 0, 0)
    shown(watched, clock, like, "tuning", 1.0)
    shown(watched, clock, like, "tuning", 1.0)
    assert [line.split(":")[0] for line in lines(console)] == [
        "Under way",
        f"[1/2] {like.trial.id}".replace("final", "tuning"),
        f"[2/2] {like.trial.id}".replace("final", "tuning"),
    ]
    assert not lines(console)[-1].endswith("left")
