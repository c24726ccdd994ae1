"""The tables of `README.md`, from what `run.py` stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from marks import put

PADDED, TUNED, OURS = "Trainer + PEFT, padded", "Trainer + PEFT, tuned", "loralab"
Stored = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """How many times a contestant's figure ours should be, at least, or of memory at most."""

    method: str
    what: str
    against: str
    times: float

    def line(self, rows: list[Stored]) -> str | None:
        """Tell what was asked for, what was found and between what it lay, or None where that was not measured."""
        of = "lora" if self.what == "later_per_second" else self.method  # nobody else trains the head alone
        ours, theirs = _each(rows, OURS, self.method, self.what), _each(rows, self.against, of, FIGURE_OF[self.what])
        if not ours or not theirs:
            return None
        found = f"{median(ours) / median(theirs):.2f}×"
        turns = [one / other for one, other in zip(ours, theirs, strict=True)]
        if len(turns) > 1:
            found += f" ({min(turns):.2f} to {max(turns):.2f})"
        asked = f"at {'most' if self.what == 'memory' else 'least'} {self.times:g}×"
        style = "padded" if self.against == PADDED else "tuned"
        answer = "met" if self._is_met(median(ours) / median(theirs)) else "**missed**"
        if answer == "met" and (met := sum(map(self._is_met, turns))) < len(turns):
            answer = f"met, in {met} of {len(turns)} runs"
        return f"| {WHAT[self.what]}, {self.method}, against {style} | {asked} | {found} | {answer} |"

    def _is_met(self, found: float) -> bool:
        return found <= self.times if self.what == "memory" else found >= self.times


TARGET_HEADER = ("| target | asked for | found | |", "| --- | ---: | ---: | --- |")
WHAT = {
    "per_second": "training speed",
    "memory": "training memory",
    "evaluated_per_second": "evaluation speed",
    "later_per_second": "training speed after the first epoch",
}
FIGURE_OF = {what: what for what in WHAT} | {"later_per_second": "per_second"}
TARGETS = {
    "classification": (
        *(Target(method, "per_second", PADDED, 5) for method in ("lora", "full")),
        Target("lora", "per_second", TUNED, 2.3),
        Target("full", "per_second", TUNED, 2),
        *(Target(method, "evaluated_per_second", PADDED, 3.5) for method in ("lora", "full")),
        *(Target(method, "evaluated_per_second", TUNED, 1.8) for method in ("lora", "full")),
    ),
    "without-dropout": tuple(Target(method, "per_second", TUNED, 1.35) for method in ("lora", "full")),
    "memory": (
        Target("lora", "memory", PADDED, 0.55),
        Target("lora", "memory", TUNED, 0.6),
        Target("lora, no dropout", "memory", TUNED, 0.75),
        Target("lora-3", "memory", TUNED, 0.5),
    ),
    "head-only": (Target("head-only", "later_per_second", TUNED, 30),),
    "language": (Target("lora-3", "per_second", TUNED, 2.5),),
}
ARITHMETIC = 0.6  # of the machine's rate of matrix products, that real tokens are to need


def write_table(document: Path, stored: Stored) -> None:
    """Replace what stands between the marks of every part that was run."""
    writers = {
        "classification": _labelled,
        "without-dropout": _labelled,
        "memory": _memory,
        "head-only": _head_only,
        "language": _language,
        "whole": _whole,
    }
    for precision, parts in stored.items():
        for part, found in parts.items():
            lines = [*_conditions(found), "", *writers[part](found["results"]), *_targets(part, found["results"])]
            put(document, f"{part} in {precision}", "\n".join(lines))


def told(machine: Stored) -> str:
    """Return what the figures were taken with."""
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("torch", "transformers", "peft"))
    return (
        f"{machine['device_name']}, {machine['threads']} threads, {versions}, loralab at {_commit(machine['commit'])}"
    )


def _commit(commit: str | None) -> str:
    """Shorten it, but not the mark of a checkout that was changed."""
    return "an unknown commit" if commit is None else commit[:7] + ("+" if commit.endswith("+") else "")


def _conditions(found: Stored) -> list[str]:
    often = "taken once" if found["repeats"] == 1 else f"median of {found['repeats']}"
    return [
        f"{told(row['machine'])}; {found['rows']} texts where texts are trained on; {often}."
        for row in found["results"]
        if "machine" in row
    ][:1]


def _targets(part: str, rows: list[Stored]) -> list[str]:
    lines = [line for target in TARGETS.get(part, ()) if (line := target.line(rows)) is not None]
    if part == "without-dropout" and (useful := _of(rows, OURS, "lora", "useful")) is not None:
        share = useful / _peak(rows)
        met = "met" if share >= ARITHMETIC else "**missed**"
        lines.append(f"| useful arithmetic, lora | at least {ARITHMETIC:.0%} | {share:.0%} | {met} |")
    return ["", *TARGET_HEADER, *lines] if lines else []


def _each(rows: list[Stored], who: str, method: str, what: str) -> list[float]:
    """Return a figure of every turn, in the order of the turns; empty where nobody has it."""
    return [row[what] for row in rows if (row["who"], row["method"]) == (who, method) and row.get(what) is not None]


def _of(rows: list[Stored], who: str, method: str, what: str) -> float | None:
    """Return the median of a figure, or None where nobody has it."""
    found = _each(rows, who, method, what)
    return median(found) if found else None


def _ratio(one: float | None, other: float | None) -> str:
    return "" if one is None or other is None else f"{one / other:.2f}×"


def _labelled(rows: list[Stored]) -> list[str]:
    header = ["", "method", "training, texts/s", "against padded", "against tuned"]
    header += ["evaluation, texts/s", "against padded", "against tuned"]
    lines = [f"| {' | '.join(header)} |", f"| --- | --- |{' ---: |' * (len(header) - 2)}"]
    for method in ("full", "lora"):
        for who in (PADDED, TUNED, OURS, f"{OURS}, scoring: bfloat16"):
            cells = []
            for what, form in (("per_second", "{:.2f}"), ("evaluated_per_second", "{:.1f}")):
                value = _of(rows, who, method, what)
                cells.append(None if value is None else form.format(value))
                cells += [_ratio(value, _of(rows, other, method, what)) for other in (PADDED, TUNED)]
            if cells[0] is not None:
                lines.append(f"| {who} | {method} | {' | '.join(str(cell) for cell in cells)} |")
    peak = _peak(rows)
    for method in ("full", "lora"):
        useful = _of(rows, OURS, method, "useful")
        if useful is not None:
            lines += [
                "",
                f"Useful arithmetic, {method}: {useful / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s, {useful / peak:.0%} of "
                "the highest rate of matrix products that was measured between the turns.",
            ]
    return lines


def _memory(rows: list[Stored]) -> list[str]:
    header = ["", "method", "peak of training", "against padded", "against tuned"]
    header += ["peak of the process", "against padded", "against tuned"]
    lines = [f"| {' | '.join(header)} |", f"| --- | --- |{' ---: |' * (len(header) - 2)}"]
    for method in dict.fromkeys(row["method"] for row in rows):
        for who in (PADDED, TUNED, OURS):
            cells = []
            for what in ("memory", "process"):
                if (value := _of(rows, who, method, what)) is None:  # the language model has no padded peer
                    continue
                cells.append(f"{value / 1e9:.2f} GB")
                cells += [_ratio(value, _of(rows, other, method, what)) for other in (PADDED, TUNED)]
            if cells:
                lines.append(f"| {who} | {method} | {' | '.join(cells)} |")
    return lines


def _peak(rows: list[Stored]) -> float:
    """Return the highest of the rates: the machine's speed moves from minute to minute, and one alone is no peak."""
    return max((row["peak"] for row in rows if row.get("peak") is not None), default=0.0)


def _head_only(rows: list[Stored]) -> list[str]:
    tuned = _of(rows, TUNED, "lora", "per_second")
    lines = ["| | texts/s | against tuned LoRA |", "| --- | ---: | ---: |"]
    for told, who, method, what in (
        (f"{TUNED}, LoRA", TUNED, "lora", "per_second"),
        ("loralab, head-only, first epoch", OURS, "head-only", "per_second"),
        ("loralab, head-only, epochs after it", OURS, "head-only", "later_per_second"),
    ):
        value = _of(rows, who, method, what)
        lines.append(f"| {told} | {value:.1f} | {_ratio(value, tuned)} |")
    return lines


def _language(rows: list[Stored]) -> list[str]:
    lines = [
        "| | method | tokens/s | against tuned |",
        "| --- | --- | ---: | ---: |",
    ]
    for who in (TUNED, OURS):
        speed = _of(rows, who, "lora-3", "per_second")
        assert speed is not None
        lines.append(f"| {who} | LoRA-3 | {speed:.0f} | {_ratio(speed, _of(rows, TUNED, 'lora-3', 'per_second'))} |")
    return lines


def _whole(rows: list[Stored]) -> list[str]:
    notebook = sum(row["whole_seconds"] for row in rows if row["who"] == PADDED)
    (ours,) = (row["whole_seconds"] for row in rows if row["who"] == OURS)
    return [
        f"The two padded, untuned runs of the usual notebook: {notebook:.0f} s. The whole tuned comparison (full and "
        f"LoRA, three rates each and one more at an edge, three seeds): {ours:.0f} s.",
        "",
        *TARGET_HEADER,
        f"| time of a whole comparison, against both padded runs | at most 1× | {ours / notebook:.2f}× | "
        f"{'met' if ours <= notebook else '**missed**'} |",
    ]
