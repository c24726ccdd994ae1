"""Holds the verdict against simulated experiments of which the truth is known.

    python benchmarks/calibration.py --out DIR [--draws 2000] [--experiments 1000] [--processes 2] [PART...]

Every cell of the grid is simulated so many times, judged by the code that judges real results, and kept in `--out`, so
that the script goes on where it was stopped. The tables are written into docs/statistics.md.

A simulated item is answered right where a sum of normal effects is positive: the arm's skill, the item's difficulty
(shared by all arms), the item's difficulty for the arm, the arm's luck with the seed, and chance. Where no arm's skill
differs, every true difference is zero; other truths are made by moving the estimates, which leaves their errors alone.
Where hardly any item differs the error goes with the difference; a third table simulates that at the margin itself.
A fourth simulates language models: documents of very unlike lengths, whose negative log-likelihoods differ between arms
by the document, by the seed and by both, and a log perplexity in which every token counts alike.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from loralab.experiment import AUTO_LOOKS
from loralab.statistics.decisions import LEVEL, Direction, MarginAnswer, judge
from loralab.statistics.estimate import Estimate, crossed
from loralab.statistics.needed import are_settled
from loralab.statistics.resampling import resample
from loralab.writing import write_whole
from marks import put

DOCUMENT = Path(__file__).parent.parent / "docs" / "statistics.md"
SKILL = 1.8  # of every arm: about 83 % right
OWN = 0.99  # standard deviation of what is an arm's own in an item: two arms then disagree on about 15 % of the items
SEED_SHARES = (0.0, 1.0, 10.0)  # seed variance of a difference by its variance over items, for one seed


@dataclass(frozen=True)
class Cell:
    """One design."""

    seeds: int
    items: int
    seed_share: float
    arms: int
    chance: float = 0.5  # the part of an arm's own that is drawn anew for every seed

    @property
    def name(self) -> str:
        """Fit for a file."""
        return f"seeds{self.seeds}-items{self.items}-share{self.seed_share:g}-arms{self.arms}-chance{self.chance:g}"


GRID = [
    *(Cell(*values) for values in product((1, 2, 3, 5, 10), (200, 2_000), SEED_SHARES, (2, 6))),
    *(Cell(seeds, 1_000, share, 2, chance=0.9) for seeds, share in product((3, 5), (0.0, 3.0, 10.0))),
    *(Cell(seeds, 25_000, share, 2) for seeds, share in product((1, 2, 3, 5, 10), SEED_SHARES)),
]
SEQUENTIAL = [
    Cell(AUTO_LOOKS[-1], items, share, arms) for items, share, arms in product((500, 2_000), SEED_SHARES, (2, 4))
]


@dataclass(frozen=True)
class Sparse:
    """A design in which the arms differ on few items, the true difference being the margin."""

    seeds: int
    items: int
    disagreement: float
    margin: float = 0.02

    @property
    def name(self) -> str:
        """Fit for a file."""
        return f"seeds{self.seeds}-items{self.items}-disagreement{self.disagreement:g}"


@dataclass(frozen=True)
class Corpus:
    """A design for language models."""

    seeds: int
    documents: int
    seed_share: float

    @property
    def name(self) -> str:
        """Fit for a file."""
        return f"seeds{self.seeds}-documents{self.documents}-share{self.seed_share:g}"


CORPORA = [Corpus(*values) for values in product((1, 3, 5), (8, 60, 500), SEED_SHARES)]
SPARSE = [Sparse(*values) for values in product((1, 3), (200, 500, 1_000), (0.02, 0.03, 0.04))]


def main() -> None:
    """Simulate what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--experiments", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tables = {}
    with ProcessPoolExecutor(given.processes) as pool:
        for part in given.parts or PARTS:
            cells, table = PARTS[part]
            looks = AUTO_LOOKS if part == "looks" else ()
            simulate = partial(keep, folder=given.out, draws=given.draws, experiments=given.experiments, looks=looks)
            found = list(pool.map(simulate, cells))
            tables[part] = table(found)
            if part == "fixed":
                tables["summary"] = f"{_noise(given.experiments)}\n\n{summary_table(found)}"
    write(tables)


def keep(
    cell: Cell | Sparse | Corpus, folder: Path, draws: int, experiments: int, looks: Sequence[int] = ()
) -> dict[str, float]:
    """Return what came out of a cell, from its file where it was simulated before."""
    ways: dict[type, tuple[str, Callable[..., dict[str, float]]]] = {
        Sparse: ("sparse", at_the_margin),
        Corpus: ("corpus", of_perplexity),
        Cell: ("looks", partial(sequential, looks=looks)) if looks else ("fixed", fixed_design),
    }
    kind, simulate = ways[type(cell)]
    file = folder / f"{kind}-{cell.name}-{draws}x{experiments}.json"
    if not file.exists():
        write_whole(file, json.dumps(asdict(cell) | simulate(cell, draws, experiments)))
        print(file.name, flush=True)
    stored: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return stored


def answers(cell: Cell, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Simulate one experiment: (items, arms, seeds), one where the item was answered right."""
    items, arms, seeds = cell.items, cell.arms, cell.seeds
    total = math.sqrt(1 + OWN**2)
    lasting, chance = OWN * math.sqrt(1 - cell.chance), OWN * math.sqrt(cell.chance)
    # How much the share of right answers changes with skill, and the variance of a difference over items.
    slope = math.exp(-((SKILL / total) ** 2) / 2) / math.sqrt(2 * math.pi) / total
    luck = math.sqrt(cell.seed_share * 0.15 / items / 2) / slope
    latent = (
        SKILL
        + generator.standard_normal((items, 1, 1), dtype=np.float32)
        + lasting * generator.standard_normal((items, arms, 1), dtype=np.float32)
        + luck * generator.standard_normal((1, arms, seeds), dtype=np.float32)
        + chance * generator.standard_normal((items, arms, seeds), dtype=np.float32)
    )
    return np.asarray(latent > 0, dtype=np.float32)


def estimates(right: npt.NDArray[np.float32], draws: int, seed: int) -> list[Estimate]:
    """Estimate every arm's gain over the first, as `loralab.differences` does."""
    drawn = resample(right[..., None], lambda means: means[..., 0], draws, seed)  # (draws, arms, seeds)
    scores = right.mean(axis=0, dtype=np.float64)
    least = len(right) ** -2.0
    return [
        crossed(scores[arm] - scores[0], drawn[:, arm] - drawn[:, 0], len(right), least)
        for arm in range(1, len(scores))
    ]


def moved(gains: Sequence[Estimate], by: float) -> dict[str, Estimate | None]:
    """The estimates, had the truth been another."""
    return {str(arm): replace(gain, value=gain.value + by) for arm, gain in enumerate(gains)}


def fixed_design(cell: Cell, draws: int, experiments: int) -> dict[str, float]:
    """Simulate a design with a fixed number of seeds."""
    generator = np.random.default_rng([cell.seeds, cell.items, cell.arms, int(cell.seed_share)])
    return judged([estimates(answers(cell, generator), draws, seed) for seed in range(experiments)])


def of_perplexity(cell: Corpus, draws: int, experiments: int) -> dict[str, float]:
    """Simulate a design in which documents are scored by their tokens."""
    generator = np.random.default_rng([7, cell.seeds, cell.documents, int(cell.seed_share)])
    return judged([log_perplexity(likelihoods(cell, generator), draws, seed) for seed in range(experiments)])


def likelihoods(cell: Corpus, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Simulate one experiment: (documents, 2 arms, seeds, 2), the nats that a document took and its tokens.

    Lengths are lognormal, with a tenth of the documents more than three times as long as the middle one. Half of what
    two arms differ by in a document is its own, the same for every seed.
    """
    documents, seeds, own = cell.documents, cell.seeds, 0.05
    tokens = generator.lognormal(math.log(2_000), 0.9, (documents, 1, 1))
    # The variance of a difference over documents is 2 own², and their mean's by the documents that count in effect.
    effective = documents / math.exp(0.9**2)
    nats = (
        3.5
        + 0.4 * generator.standard_normal((documents, 1, 1))
        + own * math.sqrt(0.5) * generator.standard_normal((documents, 2, 1))
        + own * math.sqrt(0.5) * generator.standard_normal((documents, 2, seeds))
        + own * math.sqrt(cell.seed_share / effective) * generator.standard_normal((1, 2, seeds))
    )
    return np.stack(np.broadcast_arrays(nats * tokens, tokens), axis=-1).astype(np.float32)


def log_perplexity(totals: npt.NDArray[np.float32], draws: int, seed: int) -> list[Estimate]:
    """Estimate the second arm's difference from the first, as `loralab.differences` does."""

    def score(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(means[..., 0] / means[..., 1])

    drawn, scores = resample(totals, score, draws, seed), score(totals.mean(axis=0, dtype=np.float64))
    return [crossed(scores[1] - scores[0], drawn[:, 1] - drawn[:, 0], len(totals))]


def judged(found: Sequence[Sequence[Estimate]]) -> dict[str, float]:
    """Return how often the arms of experiments, all of them equal to the baseline, were judged rightly and wrongly."""
    values = np.array([[gain.value for gain in gains] for gains in found])
    error = float(values.std())  # the true standard error
    covered = np.mean([[low <= 0 <= high for low, high in (gain.interval() for gain in gains)] for gains in found])
    widths = [high - low for gains in found for low, high in (gain.interval() for gain in gains)]
    margin = 4 * error

    def share(by: float, claims: Sequence[object]) -> float:
        """The share of experiments in which any arm gets one of `claims`."""
        verdicts = [judge(moved(gains, by), margin).values() for gains in found]
        return float(
            np.mean([any(v.direction in claims or v.margin_answer in claims for v in one) for one in verdicts])
        )

    def seen(arms: int) -> float:
        """How often the first arm's four standard errors are seen, beside others that are equal to the baseline."""
        one = [
            moved(gains[:1], margin) | {f"equal {i}": gain for i, gain in enumerate(gains[1:arms])} for gains in found
        ]
        return float(np.mean([judge(gains, margin)["0"].direction is Direction.BETTER for gains in one]))

    return {
        "coverage": float(covered),
        "width": float(np.median(widths)) / error,
        "false_direction": share(0.0, (Direction.BETTER, Direction.WORSE)),
        "false_equivalence": share(-margin, (MarginAnswer.EQUIVALENT,)),
        "false_non_inferiority": share(-margin, (MarginAnswer.EQUIVALENT, MarginAnswer.NON_INFERIOR)),
        "false_inferiority": share(-margin, (MarginAnswer.INFERIOR,)),
        "seen": seen(1),
        "seen_beside": seen(len(found[0])),
    }


def sequential(cell: Cell, draws: int, experiments: int, looks: Sequence[int]) -> dict[str, float]:
    """Simulate `seeds: auto`: stop at the first look at which every arm is decided, or items alone forbid it."""
    generator = np.random.default_rng([99, cell.items, cell.arms, int(cell.seed_share)])
    level = LEVEL / len(looks)
    found = []
    for seed in range(experiments):
        right = answers(cell, generator)
        found.append([estimates(right[:, :, :count], draws, seed) for count in looks])
    margin = 4 * float(np.std([gains[-1][0].value for gains in found]))

    def end(by: float) -> list[tuple[int, bool, bool]]:
        """For each experiment: seeds used, whether a direction and whether non-inferiority was claimed of any arm."""
        ended = []
        for gains in found:
            judged = (judge(moved(look, by), margin, level).values() for look in gains)
            count, verdicts = next(
                (
                    (count, one)
                    for count, one in zip(looks, judged, strict=False)
                    if count == looks[-1] or are_settled(one)
                )
            )
            directed = any(v.direction is not Direction.NOT_SHOWN for v in verdicts)
            ended.append((count, directed, any(v.is_non_inferior for v in verdicts)))
        return ended

    null, edge = end(0.0), end(-margin)
    return {
        "false_direction": float(np.mean([directed for _, directed, _ in null])),
        "false_non_inferiority": float(np.mean([claimed for _, _, claimed in edge])),
        "decided_if_equal": float(np.mean([claimed for _, _, claimed in null])),
        "seeds_if_equal": float(np.mean([count for count, _, _ in null])),
    }


def at_the_margin(cell: Sparse, draws: int, experiments: int) -> dict[str, float]:
    """Simulate an arm that is worse by the margin, on items of which few differ; half of these for every seed anew."""
    generator = np.random.default_rng([cell.seeds, cell.items, round(1000 * cell.disagreement)])
    lost, gained = (cell.disagreement + cell.margin) / 2, (cell.disagreement - cell.margin) / 2
    claimed = []
    for seed in range(experiments):
        lasting = generator.random((cell.items, 1))
        luck = np.where(
            generator.random((cell.items, cell.seeds)) < 0.5, lasting, generator.random((cell.items, cell.seeds))
        )
        right = np.zeros((cell.items, 2, cell.seeds), dtype=np.float32)
        right[:, 0] = luck >= gained  # the baseline is wrong where the arm gains
        right[:, 1] = (luck < gained) | (luck >= gained + lost)
        gains = moved(estimates(right, draws, seed), 0.0)
        claimed.append(judge(gains, cell.margin, are_shares=True)["0"].is_non_inferior)
    return {"false_non_inferiority": float(np.mean(claimed))}


COLUMNS = {
    "coverage": "covered",
    "width": "width",
    "false_direction": "false direction",
    "false_equivalence": "false equivalence",
    "false_non_inferiority": "false non-inferiority",
    "false_inferiority": "false inferiority",
    "seen": "4 SE seen",
    "seen_beside": "beside others",
}
OF_ONE_ARM = [name for name in COLUMNS if name != "seen_beside"]


def fixed_table(cells: Sequence[dict[str, float]]) -> str:
    """One row a cell."""
    rows = [
        [
            *(f"{cell[name]:,g}" for name in ("seeds", "items", "seed_share", "chance", "arms")),
            *_figures(cell, COLUMNS),
        ]
        for cell in cells
    ]
    return _table(["seeds", "items", "seed variance", "chance", "arms", *COLUMNS.values()], rows)


def summary_table(cells: Sequence[dict[str, float]]) -> str:
    """One row a number of seeds: the least and the most of every column over its cells."""

    def range_of(name: str, found: Sequence[dict[str, float]]) -> str:
        low, high = min(cell[name] for cell in found), max(cell[name] for cell in found)
        return f"{low:.1f} to {high:.1f}" if name == "width" else f"{100 * low:.1f} to {100 * high:.1f} %"

    counts = sorted({cell["seeds"] for cell in cells})
    rows = [
        [f"{count:g}", *(range_of(name, [cell for cell in cells if cell["seeds"] == count]) for name in OF_ONE_ARM)]
        for count in counts
    ]
    return _table(["seeds", *(COLUMNS[name] for name in OF_ONE_ARM)], rows)


def sparse_table(cells: Sequence[dict[str, float]]) -> str:
    """One row a cell."""
    header = ["seeds", "items", "disagreement", "margin", "false non-inferiority"]
    rows = [
        [f"{cell['seeds']:g}", f"{cell['items']:,}", f"{100 * cell['disagreement']:g} %",
         f"{100 * cell['margin']:g} points", f"{100 * cell['false_non_inferiority']:.1f} %"]
        for cell in cells
    ]  # fmt: skip
    return _table(header, rows)


def corpora_table(cells: Sequence[dict[str, float]]) -> str:
    """One row a cell."""
    rows = [
        [*(f"{cell[name]:,g}" for name in ("seeds", "documents", "seed_share")), *_figures(cell, OF_ONE_ARM)]
        for cell in cells
    ]
    return _table(["seeds", "documents", "seed variance", *(COLUMNS[name] for name in OF_ONE_ARM)], rows)


def looked_table(cells: Sequence[dict[str, float]]) -> str:
    """One row a cell of the sequential rule."""
    header = ["items", "seed variance", "arms", "false direction", "false non-inferiority", "non-inferior if equal",
              "seeds used if equal"]  # fmt: skip
    rows = [
        [f"{cell['items']:,}", f"{cell['seed_share']:g}", f"{cell['arms']:g}",
         *(f"{100 * cell[name]:.1f} %" for name in ("false_direction", "false_non_inferiority", "decided_if_equal")),
         f"{cell['seeds_if_equal']:.1f}"]
        for cell in cells
    ]  # fmt: skip
    return _table(header, rows)


PARTS: dict[str, tuple[Sequence[Cell | Sparse | Corpus], Callable[[Sequence[dict[str, float]]], str]]] = {
    "sparse": (SPARSE, sparse_table),
    "corpora": (CORPORA, corpora_table),
    "looks": (SEQUENTIAL, looked_table),
    "fixed": (GRID, fixed_table),
}


def _figures(cell: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{cell[name]:.2f}" if name == "width" else f"{100 * cell[name]:.1f} %" for name in names]


def _noise(experiments: int) -> str:
    low, high = (100 * binom.ppf(share, experiments, 0.95) / experiments for share in (0.025, 0.975))
    return f"{experiments:,} experiments a cell: a true 95 % comes out between {low:.1f} and {high:.1f} %."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(tables: Mapping[str, str]) -> None:
    """Put each table into the document, after its mark."""
    for mark, table in tables.items():
        put(DOCUMENT, mark, table)
    print(*tables.values(), sep="\n\n")


if __name__ == "__main__":
    main()
