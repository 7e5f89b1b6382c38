"""Numbers of lists and matrices: areas, ranks, histograms, spreads. Nothing here knows of networks or attacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[Any]


def area(lower: Values, upper: Values) -> float:
    """How often a number of `lower` lies below one of `upper`, ties by half: the area under the ROC curve."""
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    if not len(low) or not len(high):
        return float("nan")
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, "left")
    up_to = np.searchsorted(ordered, high, "right")
    return float((below + up_to).sum() / 2 / (len(low) * len(high)))


def area_interval(value: float, lower: int, upper: int) -> tuple[float, float]:
    """The 95 % interval of such an area by Hanley and McNeil (1982), from how many numbers there are on either side.

    Their interval has no width at 0 and 1; there the rule of three stands in, for the side with fewer numbers.
    """
    if not lower or not upper or not np.isfinite(value):
        return float("nan"), float("nan")
    one, other = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (upper - 1) * (one - value**2) + (lower - 1) * (other - value**2)
    wide = 1.96 * float(np.sqrt(max(0.0, spread) / (lower * upper))) or 3 / min(lower, upper)
    return max(0.0, value - wide), min(1.0, value + wide)


def overlap(one: Values, other: Values, bins: int = 40) -> float:
    """The share of two histograms that lies under both: 1 for equal ones, 0 where no bin holds both."""
    together = np.concatenate([np.asarray(one, float), np.asarray(other, float)])
    edges = np.histogram_bin_edges(together, bins)
    shares = [np.histogram(side, edges)[0] / max(1, len(side)) for side in (one, other)]
    return float(np.minimum(*shares).sum())


def densities(values: Values, low: float, high: float, bins: int = 40) -> list[tuple[float, float]]:
    """Middles of bins, and the share of the values in each."""
    counts, edges = np.histogram(np.asarray(values, float), bins, (low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    return [(float(x), float(y)) for x, y in zip(middles, counts / max(1, len(values)), strict=True)]


def ranks(values: Values) -> npt.NDArray[np.float64]:
    """Places in order, from 0 on; equal numbers share the mean of theirs."""
    given = np.asarray(values, float)
    ordered = np.sort(given)
    first, behind = np.searchsorted(ordered, given, "left"), np.searchsorted(ordered, given, "right")
    return (first + behind - 1) / 2


def correlation(one: Values, other: Values) -> float:
    """Spearman's: of the places in order; unknown where one side is constant."""
    a, b = ranks(one), ranks(other)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def spread_beyond_chance(hits: Values, counts: Values) -> float:
    """The standard deviation of the shares hits / counts beyond what chance alone gives, in percent.

    The variance of the shares less the mean of p (1 - p) / (n - 1), which estimates without bias what comes of counting
    few; 0 where chance explains all of it.
    """
    n, k = np.asarray(counts, float), np.asarray(hits, float)
    kept = n > 1
    if kept.sum() < 2:
        return float("nan")
    shares, n = k[kept] / n[kept], n[kept]
    beyond = shares.var(ddof=1) - (shares * (1 - shares) / (n - 1)).mean()
    return 100 * float(np.sqrt(max(0.0, beyond)))


def share_below(values: Values, thresholds: Values) -> npt.NDArray[np.float64]:
    """For each threshold the share of the values that do not lie above it."""
    ordered = np.sort(np.asarray(values, float))
    return np.searchsorted(ordered, np.asarray(thresholds, float), "right") / max(1, len(ordered))


def jackknife(whole: float, without: Values) -> tuple[float, float]:
    """The 95 % interval of a number from what it is without each of the images that it was worked out from."""
    left = np.asarray(without, float)
    n = len(left)
    if n < 2 or not np.isfinite(whole) or not np.isfinite(left).all():
        return float("nan"), float("nan")
    wide = 1.96 * float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    return whole - wide, whole + wide
