"""Holds `loralab plan --measure` against what the run then takes.

    python benchmarks/forecast.py --imdb DIR --out DIR

For the quickstart and for 500 IMDb reviews (MiniLM, 512 tokens, 500 to test on, 2 seeds, a learning rate an arm),
forecasts the experiment, carries out what is missing of it in `--out`, and writes `benchmarks/forecast.md`: seconds of
training, peak memory of training, and seconds of all trials. Run nothing beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

from loralab import api
from loralab.experiment import Experiment
from loralab.files import read_experiment
from loralab.plan import certain_trials
from loralab.rehearsal import Rehearsal
from loralab.results import Measurement

HERE = Path(__file__).parent
MODEL = "package:all-MiniLM-L6-v2"
RATES = {"full": 1e-4, "lora-r8": 1e-3, "head-only": 1e-3}
HEADER = """# Forecast and outcome

`python benchmarks/forecast.py --imdb DIR --out DIR` forecasts two experiments as `loralab plan --measure` does and then
carries them out. Seconds of training and peak memory are those of a trial, means over the arm's trials; *in all* is the
sum of all trials' seconds. *imdb* is MiniLM on 500 reviews of up to 512 tokens, 500 to test on, 2 seeds, one learning
rate an arm. {machine}.

| experiment | what | forecast | outcome | forecast / outcome |
| --- | --- | ---: | ---: | ---: |
"""


def main() -> None:
    """Forecast, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imdb", type=Path, required=True, help="a folder with IMDb's train.jsonl and test.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the results")
    given = parser.parse_args()
    changes = {
        "conditions.model": MODEL,
        "conditions.task.data.source": str(given.imdb),
        "conditions.task.data.rows.train": 500,
        "conditions.task.data.rows.test": 500,
        "seeds": 2,
        **{f"arms.{arm}.learning_rates": [rate] for arm, rate in RATES.items()},
    }
    experiments = {
        "quickstart": read_experiment("quickstart"),
        "imdb": read_experiment("imdb-distilbert", changes),
    }
    lines = [line for name, experiment in experiments.items() for line in compare(name, experiment, given.out / name)]
    text = HEADER.format(machine=lines[0]) + "\n".join(line for line in lines if line.startswith("|")) + "\n"
    (HERE / "forecast.md").write_text(text, encoding="utf-8")
    print(text)


def compare(name: str, experiment: Experiment, out: Path) -> list[str]:
    """Return the machine and the table's lines for one experiment."""
    forecast = api.forecast(experiment)
    comparison = api.run(experiment, out)
    trials = [result for result in comparison.results.values() if isinstance(result, Measurement)]
    lines = []
    for arm, found in forecast.arms.items():
        assert isinstance(found.rehearsal, Rehearsal)
        own = [trial for trial in trials if trial.trial.arm == arm]
        seconds = fmean(trial.seconds.training for trial in own)
        lines.append(row(name, f"{arm}, training, s", found.rehearsal.training_seconds, seconds))
        memory = fmean(trial.memory.training or 0 for trial in own)
        lines.append(row(name, f"{arm}, peak memory, MB", (found.rehearsal.training_memory or 0) / 1e6, memory / 1e6))
    least, most = forecast.seconds()
    expected = most if len(trials) > len(certain_trials(experiment)) else least
    lines.append(row(name, "in all, s", expected, sum(sum(trial.seconds.model_dump().values()) for trial in trials)))
    machine = comparison.measurements[0].environment
    return [f"{machine.device_name}, {machine.threads} threads, torch {machine.versions['torch']}", *lines]


def row(experiment: str, what: str, forecast: float, outcome: float) -> str:
    """Return a line of the table."""
    return f"| {experiment} | {what} | {forecast:,.0f} | {outcome:,.0f} | {forecast / outcome:.2f} |"


if __name__ == "__main__":
    main()
