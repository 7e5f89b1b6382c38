"""Findings with intervals from what was counted or measured."""

from __future__ import annotations

import math
from collections.abc import Iterable

from advbench.findings import Finding
from advbench.store.wilson import Z95, wilson


def share(name: str, hits: int, n: int, unit: str = "percent") -> Finding:
    """A share with Wilson's interval, in percent unless another unit is named; unknown where nothing was counted."""
    if n == 0:
        return Finding(name, None, n=0, unit=unit)
    times = 100.0 if unit == "percent" else 1.0
    low, high = wilson(hits, n)
    return Finding(name, times * hits / n, times * low, times * high, n, unit)


def mean(name: str, values: Iterable[float], unit: str = "") -> Finding:
    """A mean with the interval of two standard errors and a bit; of one value, or of none, without an interval."""
    numbers = [float(value) for value in values]
    n = len(numbers)
    if n == 0:
        return Finding(name, None, n=0, unit=unit)
    middle = math.fsum(numbers) / n
    if n == 1:
        return Finding(name, middle, n=1, unit=unit)
    wide = Z95 * math.sqrt(math.fsum((value - middle) ** 2 for value in numbers) / (n - 1) / n)
    return Finding(name, middle, middle - wide, middle + wide, n, unit)
