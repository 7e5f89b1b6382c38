"""Uncertainty: intervals of rates, paired tests, and ranks that claim no more than the tests do."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from advbench.store.wilson import Z95, wilson

__all__ = [
    "SIGNIFICANT",
    "Z95",
    "DetectorPoint",
    "binomial",
    "detector_curve",
    "paired",
    "shared_ranks",
    "two_samples",
    "undetected_at",
    "wilson",
]

SIGNIFICANT = 0.05

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class DetectorPoint:
    """What a detector does at one threshold: it raises an alarm about every image that is more suspect."""

    threshold: float
    false_positives: float
    """Share of clean images that raise an alarm."""
    undetected: float
    """Share of all attacked images that reach the goal and raise none."""


def detector_curve(clean: Sequence[float | None], reached: Sequence[float | None], n: int) -> tuple[DetectorPoint, ...]:
    """Undetected against false positives, at the suspicion of every clean image; from most alarms to fewest.

    `reached` holds the suspicions of those of the n attacked images that reached the goal by the rules. A suspicion
    that is no number raises no alarm. The first point is the detector that suspects everything.
    """
    if not clean or not 0 <= len(reached) <= n or n == 0:
        raise ValueError(f"no curve: {len(clean)} clean images, {len(reached)} successes of {n}")
    usual, hidden = sorted(_numbers(clean)), sorted(_numbers(reached))
    silent = len(reached) - len(hidden)
    return tuple(
        DetectorPoint(
            threshold,
            (len(usual) - bisect_right(usual, threshold)) / len(clean),
            (silent + bisect_right(hidden, threshold)) / n,
        )
        for threshold in (-math.inf, *sorted(set(usual)))
    )


def undetected_at(curve: Sequence[DetectorPoint], false_positives: float) -> DetectorPoint:
    """The point with most alarms among those with at most so many false ones, as a threshold is set."""
    return next(point for point in curve if point.false_positives <= false_positives)


def _numbers(suspicions: Sequence[float | None]) -> list[float]:
    return [value for value in suspicions if value is not None and not math.isnan(value)]


def paired(a: Sequence[bool], b: Sequence[bool]) -> float:
    """The two-sided p-value that a and b, verdicts on the same examples, are right equally often (exact McNemar)."""
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    return binomial(min(only_a, only_b), only_a + only_b)


def binomial(k: int, n: int) -> float:
    """The two-sided probability of a split at least as uneven as k and n - k, with k <= n / 2, for a fair coin."""
    if n == 0:
        return 1.0
    # the largest term by logarithms, the others as ratios: factorials of thousands do not fit a float
    last = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    tail, term = 0.0, last
    for i in range(k, -1, -1):
        tail += term
        term *= i / (n - i + 1)
    return min(1.0, 2 * tail)


def two_samples(k1: int, n1: int, k2: int, n2: int) -> float:
    """The two-sided p-value that k1 of n1 and k2 of n2, of different examples, are one rate (exact, Fisher 1935)."""
    if not (0 <= k1 <= n1 and 0 <= k2 <= n2):
        raise ValueError(f"no rates: {k1} of {n1}, {k2} of {n2}")
    total, n = k1 + k2, n1 + n2
    whole = _log_choose(n, total)

    def chance(k: int) -> float:
        return math.exp(_log_choose(n1, k) + _log_choose(n2, total - k) - whole)

    seen = chance(k1) * (1 + 1e-9)  # equally likely splits count, whatever their rounding
    return min(1.0, sum(p for k in range(max(0, total - n2), min(n1, total) + 1) if (p := chance(k)) <= seen))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def shared_ranks(right: Mapping[K, Sequence[bool]]) -> list[tuple[K, int]]:
    """Who is right most often comes first; a neighbour who is not significantly worse shares the rank above it.

    It is compared with the first of that rank, so that a chain of small steps does not end in one great tie.
    """
    order = sorted(right, key=lambda name: -sum(right[name]))
    ranks: list[tuple[K, int]] = []
    leader, rank = None, 0
    for place, name in enumerate(order, start=1):
        if leader is None or paired(right[leader], right[name]) < SIGNIFICANT:
            leader, rank = name, place
        ranks.append((name, rank))
    return ranks
