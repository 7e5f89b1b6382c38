"""Findings with intervals from what was counted or measured."""

from __future__ import annotations

import math
from collections.abc import Iterable

from advbench.findings import Finding
from advbench.store.wilson import Z95, wilson

FEW = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's 97.5 % quantiles for one to ten degrees of freedom."""


def student(freedom: int) -> float:
    """Student's 97.5 % quantile; beyond ten degrees of freedom by the series of Cornish and Fisher, right to 0.001."""
    if freedom <= len(FEW):
        return FEW[freedom - 1]
    first = (Z95**3 + Z95) / 4
    second = (5 * Z95**5 + 16 * Z95**3 + 3 * Z95) / 96
    third = (3 * Z95**7 + 19 * Z95**5 + 17 * Z95**3 - 15 * Z95) / 384
    return Z95 + first / freedom + second / freedom**2 + third / freedom**3


def share(name: str, hits: int, n: int, unit: str = "percent") -> Finding:
    """A share with Wilson's interval, in percent unless another unit is named; unknown where nothing was counted."""
    if n == 0:
        return Finding(name, None, n=0, unit=unit)
    times = 100.0 if unit == "percent" else 1.0
    low, high = wilson(hits, n)
    return Finding(name, times * hits / n, times * low, times * high, n, unit)


def mean(name: str, values: Iterable[float], unit: str = "") -> Finding:
    """A mean with Student's interval. It has none where the values say nothing of how much they scatter: where there is
    one, or all are the same."""
    numbers = [float(value) for value in values]
    n = len(numbers)
    if n == 0:
        return Finding(name, None, n=0, unit=unit)
    middle = math.fsum(numbers) / n
    if n == 1 or min(numbers) == max(numbers):
        return Finding(name, middle, n=n, unit=unit)
    wide = student(n - 1) * math.sqrt(math.fsum((value - middle) ** 2 for value in numbers) / (n - 1) / n)
    return Finding(name, middle, middle - wide, middle + wide, n, unit)
