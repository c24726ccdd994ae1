"""How numbers are written for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from loralab.statistics.ratios import Ratio
from loralab.summary import Quantity, Spread
from loralab.tasks.metrics import Metric

UNKNOWN = "—"
MINUS = "−"
OVERFLOW = 700.0  # e to the power of more is no float


def score(value: float, metric: Metric) -> str:
    """Write a score: a share in per cent, a logarithm as what it is of, another number with three decimals."""
    if metric.scale == "share":
        return f"{100 * value:.1f} %"
    return _perplexity(power(value)) if metric.scale == "log" else f"{value:.3f}"


def score_spread(spread: Spread | None, metric: Metric) -> str:
    """Write a score's mean over seeds and its standard deviation."""
    if spread is None:
        return UNKNOWN
    if spread.deviation is None:
        return score(spread.mean, metric)
    if metric.scale == "share":
        return f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f} %"
    if metric.scale == "log":
        mean = power(spread.mean)
        return f"{_perplexity(mean)} ± {_perplexity(mean * spread.deviation, beside=mean)}"
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def power(value: float) -> float:
    """Return e to the power of `value`; of a loss that exploded, infinity."""
    return math.exp(value) if value < OVERFLOW else math.inf


def relative(value: float) -> float:
    """Return a difference of logarithms as a relative change, infinity where it exploded."""
    return math.expm1(value) if value < OVERFLOW else math.inf


def _perplexity(value: float, beside: float | None = None) -> str:
    """Write it to about four digits, or to as many decimals as what stands beside it."""
    size = value if beside is None else beside
    if size >= 1e6:  # of a training that exploded
        return "∞" if math.isinf(size) else f"{value:.1e}"
    return f"{value:,.{0 if size >= 1000 else 1 if size >= 100 else 2}f}"


def difference(value: float, metric: Metric) -> str:
    """Write a difference of scores with its sign: percentage points, a change in per cent, or the plain number."""
    if metric.scale == "log":
        change = 100 * relative(value)
        form = "+.1e" if 1e6 <= change < math.inf else "+.1f"
        return f"{change:{form}} %".replace("-", MINUS).replace("inf", "∞")
    number = f"{100 * value:+.1f}" if metric.scale == "share" else f"{value:+.3f}"
    return number.replace("-", MINUS)


def differences(value: float, interval: tuple[float, float], metric: Metric, unit: str = "") -> str:
    """Write a difference, its unit where one is given, and its interval: '−4.1 (−6.0 to −2.4)'."""
    low, high = (difference(bound, metric) for bound in interval)
    return f"{difference(value, metric)}{unit} ({low.removesuffix(' %')} to {high})"


def sizes(value: float, interval: tuple[float, float], metric: Metric) -> str:
    """Write how large a difference is that has one sign, and its interval: '4.1 points (2.4 to 6.0)'."""
    ends = sorted(interval, key=abs)
    low, high = (bare(bound, metric).removeprefix(MINUS).removesuffix(" %") for bound in ends)
    return f"{amount(value, metric)} ({low} to {high})"


def bare(value: float, metric: Metric) -> str:
    """Write a difference without a plus."""
    return difference(value, metric).removeprefix("+")


def amount(value: float, metric: Metric) -> str:
    """Write the size of a difference with its unit: '3.0 points', '2.1 %', or the plain number."""
    return bare(value, metric).removeprefix(MINUS) + (" points" if metric.scale == "share" else "")


def margin(value: float, metric: Metric) -> str:
    """Write a margin as it was given: '1.25 points', '2 %', or the plain number."""
    number = bare_margin(value, metric)
    return number + ("" if metric.scale != "share" else " point" if number == "1" else " points")


def bare_margin(value: float, metric: Metric) -> str:
    """Write a margin without the word for its unit."""
    if metric.scale == "log":
        return f"{100 * math.expm1(value):.3g} %"
    return f"{100 * value:.4g}" if metric.scale == "share" else f"{value:g}"


def about(value: float) -> str:
    """Write a rough count: '9,700'."""
    return f"{float(f'{value:.2g}'):,.0f}"


def cost(value: float, quantity: Quantity) -> str:
    """Write a cost with its unit."""
    if quantity.unit == "s":
        return duration(value)
    return size(value) if quantity.unit == "bytes" else count(value)


def duration(seconds: float) -> str:
    """Write seconds, and what goes better with others: '112 ms', '8.4 s', '1.8 min', '12 min', '3 h 05 min'."""
    if 0 < seconds < 0.0095:
        return f"{1000 * seconds:.2g} ms"
    if 0 < seconds < 0.9995:  # from there on rounded to 1.0 s
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 and seconds == round(seconds) else f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float) -> str:
    """Write bytes in decimal units: '295 kB', '90.9 MB'."""
    return _scaled(value, ("B", "kB", "MB", "GB"))


def count(value: float) -> str:
    """Write a count to three digits: '739 k', '67 M'."""
    return _scaled(value, ("", "k", "M", "G")).rstrip()


def seeds(named: Iterable[int]) -> str:
    """Name seeds: 'seed 1', 'seeds 0, 1'."""
    names = list(map(str, named))
    return f"seed{'' if len(names) == 1 else 's'} {', '.join(names)}"


def several(number: int, thing: str) -> str:
    """Return '1 seed', '3 seeds'."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}"


def ratio(found: Ratio | None) -> str:
    """Write how many times the baseline's figure with its interval: '0.78× (0.75 to 0.81)'."""
    if found is None or found.interval is None or found.value < 0.095:
        return multiple(None if found is None else found.value)
    low, high = found.interval
    return multiple(found.value) + (f" ({low:.2f} to {high:.2f})" if high - low >= 0.005 else "")


def probability(p: float) -> str:
    """Write a p-value."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def multiple(ratio: float | None) -> str:
    """Write how many times the baseline's figure; a small part of it in per cent."""
    if ratio is None:
        return UNKNOWN
    return f"{ratio:.2f}×" if ratio >= 0.095 else f"{100 * ratio:.2g} %"


def rate(value: float | None) -> str:
    """Write a learning rate as people type it."""
    if value is None:
        return UNKNOWN
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
