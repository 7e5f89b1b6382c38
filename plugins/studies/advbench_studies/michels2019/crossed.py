"""The mean of shares that were all counted on the same images: its interval knows of both."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advbench import Finding, mean, share


def crossed(name: str, percents: Sequence[float], images: int) -> Finding:
    """The mean of percentages, one for each perturbation, each counted on the same images.

    Other perturbations would give another mean, and so would other images: the half of the interval to each side is
    the root of the sum of both squares, that over perturbations, and Wilson's of the mean share over images.
    """
    over_parts = mean(name, percents, "percent")
    if over_parts.value is None or images == 0:
        return Finding(name, None, n=0, unit="percent")
    value = over_parts.value
    over_images = share(name, round(value / 100 * images), images)
    low, high = (
        math.hypot(value - (value if side is None else side), value - (value if other is None else other))
        for side, other in ((over_parts.low, over_images.low), (over_parts.high, over_images.high))
    )
    return Finding(name, value, max(0.0, value - low), min(100.0, value + high), len(percents), "percent")
