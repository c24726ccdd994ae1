"""How numbers are written for people."""

from __future__ import annotations

from collections.abc import Sequence

from loralab.comparison import Quantity, Spread
from loralab.tasks.metrics import Metric

UNKNOWN = "—"
MINUS = "−"


def score(value: float, metric: Metric) -> str:
    """Write a score: a fraction in per cent, another number with three decimals."""
    return f"{100 * value:.1f} %" if metric.is_fraction else f"{value:.3f}"


def score_spread(spread: Spread | None, metric: Metric) -> str:
    """Write a score's mean over seeds and its standard deviation."""
    if spread is None:
        return UNKNOWN
    if spread.deviation is None:
        return score(spread.mean, metric)
    if metric.is_fraction:
        return f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f} %"
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def difference(value: float, metric: Metric) -> str:
    """Write a difference of scores with its sign: percentage points, or the plain number."""
    number = f"{100 * value:+.1f}" if metric.is_fraction else f"{value:+.3f}"
    return number.replace("-", MINUS)


def difference_spread(spread: Spread | None, metric: Metric) -> str:
    """Write a difference's mean and, over several seeds, its smallest and largest."""
    if spread is None:
        return UNKNOWN
    mean = difference(spread.mean, metric)
    if len(spread.values) == 1:
        return mean
    low, high = min(spread.values.values()), max(spread.values.values())
    return f"{mean} ({difference(low, metric)} to {difference(high, metric)})"


def cost(value: float, quantity: Quantity) -> str:
    """Write a cost with its unit."""
    if quantity.unit == "s":
        return duration(value)
    return size(value) if quantity.unit == "bytes" else count(value)


def duration(seconds: float) -> str:
    """Write seconds, and minutes and hours where there are some: '8.4 s', '12 min', '3 h 05 min'."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 and seconds == round(seconds) else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float) -> str:
    """Write bytes in decimal units: '295 kB', '90.9 MB'."""
    return _scaled(value, ("B", "kB", "MB", "GB"))


def count(value: float) -> str:
    """Write a count to three digits: '739 k', '67 M'."""
    return _scaled(value, ("", "k", "M", "G")).rstrip()


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}"


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
