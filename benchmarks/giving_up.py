"""What `give_up` would have saved in experiments that were run without it, and whether it would have changed a choice.

    python benchmarks/giving_up.py RUN ...

The rule is applied to the stored curves of the tuning trials, in the order in which they were carried out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from loralab import Comparison, load
from loralab.results import Measurement

FACTORS = (1.05, 1.1, 1.2, 1.5)


def main() -> None:
    """Print a row for each experiment and factor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    print("| experiment | factor | tuning trials given up | tuning steps saved | choices changed |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for run in parser.parse_args().runs:
        by_arm = tuning_trials(load(run))
        for factor in FACTORS:
            lost = {arm: given_up(trials, factor) for arm, trials in by_arm.items()}
            steps = sum(trial.sameness.steps for trials in by_arm.values() for trial in trials)
            saved = sum(trials[place].sameness.steps - at for arm, trials in by_arm.items() for place, at in lost[arm])
            changed = [arm for arm, trials in by_arm.items() if best(trials) in [place for place, _ in lost[arm]]]
            count = sum(len(trials) for trials in by_arm.values())
            stopped = sum(map(len, lost.values()))
            cells = [
                run.name,
                factor,
                f"{stopped} of {count}",
                f"{saved / steps:.0%}",
                f"{len(changed)} of {len(by_arm)}",
            ]
            print(f"| {' | '.join(map(str, cells))} |")


def tuning_trials(comparison: Comparison) -> dict[str, list[Measurement]]:
    """Return what the tuning trials gave, by arm, in the order in which they were carried out: the extra one last."""
    found: dict[str, list[Measurement]] = {}
    for name, arm in comparison.experiment.arms.items():
        measured = [one for one in comparison.tuning if isinstance(one, Measurement)]
        own = [one for one in measured if one.trial.arm == name]
        own.sort(key=lambda one: (one.trial.learning_rate not in arm.learning_rates, one.trial.learning_rate or 0))
        found[name] = own
    return found


def validations(trial: Measurement) -> list[tuple[int, float]]:
    """Return the tuning score after each step at which there was one."""
    metric = trial.trial.conditions.task.tuning_metric
    return [(point.step, point.validation[metric]) for point in trial.curve if point.validation]


def best(trials: Sequence[Measurement]) -> int:
    """Return the place of the trial that ended with the lowest loss."""
    return min(range(len(trials)), key=lambda place: validations(trials[place])[-1][1])


def given_up(trials: Sequence[Measurement], factor: float) -> list[tuple[int, int]]:
    """Return the place of every trial that would have been given up, and the step."""
    lost: list[tuple[int, int]] = []
    lowest: dict[int, float] = {}
    for place, trial in enumerate(trials):
        seen = validations(trial)
        behind = [step for step, loss in seen if step in lowest and loss > factor * lowest[step]]
        if behind:
            lost.append((place, behind[0]))
        else:
            lowest |= {step: min(loss, lowest.get(step, loss)) for step, loss in seen}
    return lost


if __name__ == "__main__":
    main()
