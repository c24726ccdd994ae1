"""Following an experiment: a live view on a terminal, line by line elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from loralab.experiment import Stage, Trial
from loralab.progress import Progress
from loralab.report.numbers import duration, score
from loralab.results import Failure, Measurement


class Display:
    """Shows trials done and to do, the step, loss and speed of the one under way, and the time that is left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = _Clock()
        self._live = console.is_terminal
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._all: TaskID = self._bars.add_task("trials", total=None, note="")
        self._one: TaskID = self._bars.add_task("", total=None, note="", visible=False)

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def expect(self, tuning: int, final: int, done: int) -> None:
        """Show how many trials there are and are done."""
        self._clock.expect(tuning, final, done)
        self._bars.update(self._all, total=self._clock.total, completed=done)

    def begin(self, trial: Trial) -> None:
        """Show which trial is under way."""
        if not self._live and not self._clock.has_finished_one:
            self._console.print(f"Under way: {trial.id}", markup=False, highlight=False)
        self._clock.begin(trial)
        self._begin_bar(trial.id, "starting")

    def _begin_bar(self, name: str, note: str) -> None:
        """Show a bar without a total: reset, or set to None, the last one's would stay (rich 15)."""
        self._bars.remove_task(self._one)
        self._one = self._bars.add_task(name, total=None, note=note)

    def progress(self, moment: Progress) -> None:
        """Show how far it is. A point of the curves comes between two words of progress, and is shown by them."""
        if moment.point is not None:
            return
        facts: list[str] = [moment.activity]
        if moment.loss is not None:
            facts.append(f"loss {moment.loss:.3f}")
        if moment.tokens_per_second is not None:
            facts.append(f"{moment.tokens_per_second:,.0f} tokens/s")
        if moment.steps:
            self._bars.update(self._one, completed=moment.step, total=moment.steps, note=", ".join(facts))
        else:
            self._begin_bar(moment.trial_id, ", ".join(facts))
        self._bars.update(self._all, note=self._clock.left())

    def warn(self, text: str) -> None:
        """Say it above the live view."""
        self._console.print(text, markup=False, highlight=False)

    def finish(self, result: Measurement | Failure) -> None:
        """Say in a line what the trial gave; it stays above the live view."""
        self._clock.finish(result)
        self._bars.update(self._all, completed=self._clock.done, note=self._clock.left())
        place = f"[{self._clock.done}/{self._clock.total}] {result.trial.id}"
        line = f"{place}: {_outcome(result)}"
        self._console.print(
            line if self._live or not self._clock.left() else f"{line}; {self._clock.left()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class _Clock:
    """Tells the time that is left, from the means of each arm's trials, since arms take unlike long and take turns."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.has_finished_one = False  # of those that it saw begin
        self._tuning = 0
        self._stage: Stage = "tuning"
        self._begun = time.monotonic()
        self._spent: dict[Stage, dict[str, list[float]]] = {"tuning": defaultdict(list), "final": defaultdict(list)}
        self._testing: dict[str, list[float]] = defaultdict(list)  # what scoring test would have taken tuning trials

    def expect(self, tuning: int, final: int, done: int) -> None:
        self._tuning, self.total, self.done = tuning, tuning + final, done

    def begin(self, trial: Trial) -> None:
        self._stage, self._begun = trial.stage, time.monotonic()

    def finish(self, result: Measurement | Failure) -> None:
        self.done += 1
        self.has_finished_one = True
        if isinstance(result, Measurement) and result.trial.learning_rate is not None:
            self._spent[result.trial.stage][result.trial.arm].append(time.monotonic() - self._begun)
            if result.trial.stage == "tuning":
                self._testing[result.trial.arm].append(_testing_seconds(result))
        self._begun = time.monotonic()  # nothing of the next one is behind it

    def left(self) -> str:
        if not any(self._spent.values()) or self.done == self.total:
            return ""
        means = {"tuning": self._mean_tuning(), "final": self._mean_final()}
        tuning_left = max(0, self._tuning - self.done)
        final_left = self.total - self.done - tuning_left
        under_way = min(time.monotonic() - self._begun, means[self._stage])
        left = tuning_left * means["tuning"] + final_left * means["final"] - under_way
        return f"about {duration(max(10.0, round(left, -1)))} left"

    def _mean_tuning(self) -> float:
        return fmean(fmean(own) for own in (self._spent["tuning"] or self._spent["final"]).values())

    def _mean_final(self) -> float:
        return fmean(self._final_of(arm) for arm in {**self._spent["tuning"], **self._spent["final"]})

    def _final_of(self, arm: str) -> float:
        """Return the mean of the arm's final trials; without one, a guess: test is often larger than validation."""
        if arm in self._spent["final"]:
            return fmean(self._spent["final"][arm])
        return fmean(self._spent["tuning"][arm]) + fmean(self._testing[arm])


def _testing_seconds(tuning: Measurement) -> float:
    """Return what scoring test would take a tuning trial, by the rows of both splits and its validations."""
    validations = sum(point.validation is not None for point in tuning.curve)
    rows = tuning.data.rows
    return tuning.seconds.validation / validations * rows["test"] / rows["validation"]


def _outcome(result: Measurement | Failure) -> str:
    if isinstance(result, Failure):
        return f"failed, {result.reason}: {result.message}"
    task = result.trial.conditions.task
    metrics = [metric for metric in task.metrics if metric is task.metrics[0] or metric.name == task.tuning_metric]
    scores = ", ".join(f"{metric.title.lower()} {score(result.scores[metric.name], metric)}" for metric in metrics)
    if result.course.micro_batch < result.trial.conditions.batch_size:
        scores += f" ({result.course.micro_batch} {task.example}s in a forward pass: memory ran out with more)"
    failed = [check.name for check in result.checks if not check.passed]
    if failed:
        scores += f" (void: it isn't true that {' and '.join(failed)})"
    split = "test" if result.trial.stage == "final" else "validation"
    return f"{scores} on {split}, trained {duration(result.seconds.training)}"
