"""Where the report shows one image: what is usual among many, and how far single ones lie apart."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from advbench import Finding

INSIDE = 0.9


def spread(name: str, values: Iterable[float], unit: str = "") -> Finding:
    """The median, and between which limits 90 % of single images lie: no interval of the median, which is narrower.

    Of fewer than three images no limits are told.
    """
    numbers = torch.tensor([float(value) for value in values], dtype=torch.float64)
    if len(numbers) == 0:
        return Finding(name, None, n=0, unit=unit)
    middle = numbers.quantile(0.5).item()
    if len(numbers) < 3:
        return Finding(name, middle, n=len(numbers), unit=unit)
    low, high = (numbers.quantile(side).item() for side in ((1 - INSIDE) / 2, (1 + INSIDE) / 2))
    return Finding(name, middle, low, high, len(numbers), unit)
