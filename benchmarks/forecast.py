"""Holds `loralab plan --measure` against what the run then takes.

    python benchmarks/forecast.py --imdb DIR --out DIR

For the quickstart and for 500 IMDb reviews (MiniLM, 512 tokens), forecasts the experiment, carries it out, and writes
the table in `benchmarks/forecast.md`: seconds of training, peak memory of training, and seconds in all. The results
stay in `--out`, which must be new. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import fmean

from loralab import api
from loralab.experiment import Experiment
from loralab.files import read_experiment
from loralab.rehearsal import Rehearsal

HERE = Path(__file__).parent
MODEL = "package:all-MiniLM-L6-v2"
HEADER = """# Forecast and outcome

`python benchmarks/forecast.py --imdb DIR --out DIR` forecasts two experiments as `loralab plan --measure` does and then
carries them out. Seconds of training and peak memory are those of a final trial, means over seeds; *in all* is the
whole experiment, start to report. *imdb* is MiniLM on 500 reviews of up to 512 tokens, 1,000 to test on, 2 seeds.
{machine}.

| experiment | what | forecast | outcome | forecast / outcome |
| --- | --- | ---: | ---: | ---: |
"""


def main() -> None:
    """Forecast, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imdb", type=Path, required=True, help="a folder with IMDb's train.jsonl and test.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the results")
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    rows = {"conditions.task.data.rows.train": 500, "conditions.task.data.rows.test": 1000}
    changes = {"conditions.model": MODEL, "conditions.task.data.source": str(given.imdb), "seeds": 2, **rows}
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
    begun = time.perf_counter()
    comparison = api.run(experiment, out)
    seconds = time.perf_counter() - begun
    lines = []
    for arm, found in forecast.arms.items():
        assert isinstance(found.rehearsal, Rehearsal)
        finals = list(comparison.arms[arm].measurements.values())
        trained = fmean(one.seconds.training for one in finals)
        lines.append(row(name, f"{arm}, training, s", found.rehearsal.training_seconds, trained))
        memory = fmean(one.memory.training or 0 for one in finals)
        lines.append(row(name, f"{arm}, peak memory, MB", (found.rehearsal.training_memory or 0) / 1e6, memory / 1e6))
    least, most = forecast.seconds()
    carried_out = len(comparison.tuning) - sum(len(arm.learning_rates) for arm in experiment.arms.values())
    lines.append(row(name, "in all, s", most if carried_out else least, seconds))
    machine = comparison.measurements[0].environment
    return [f"{machine.device_name}, {machine.threads} threads, torch {machine.versions['torch']}", *lines]


def row(experiment: str, what: str, forecast: float, outcome: float) -> str:
    """Return a line of the table."""
    return f"| {experiment} | {what} | {forecast:,.0f} | {outcome:,.0f} | {forecast / outcome:.2f} |"


if __name__ == "__main__":
    main()
