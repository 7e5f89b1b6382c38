"""Two targets, or one in two databases, paired on the same examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from advbench.rates.uncertainty import SIGNIFICANT, Z95, paired, wilson


@dataclass(frozen=True)
class Comparison:
    """Robust accuracy of A and B on the examples of one board that both were judged on."""

    board: str
    a: str
    b: str
    n: int
    right_a: int
    right_b: int
    difference: float
    """B's accuracy less A's, with its 95 % interval."""
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> str:
        if self.p_value >= SIGNIFICANT:
            return "no significant difference"
        return "B is better" if self.difference > 0 else "B is worse"

    @property
    def interval_a(self) -> tuple[float, float]:
        return wilson(self.right_a, self.n)

    @property
    def interval_b(self) -> tuple[float, float]:
        return wilson(self.right_b, self.n)


def compare(board: str, a: str, b: str, right_a: Mapping[int, bool], right_b: Mapping[int, bool]) -> Comparison | None:
    """Two targets paired on the same examples; None when no example was judged for both."""
    both = sorted(right_a.keys() & right_b.keys())
    if not both:
        return None
    verdicts_a, verdicts_b = [right_a[e] for e in both], [right_b[e] for e in both]
    only_a = sum(x and not y for x, y in zip(verdicts_a, verdicts_b, strict=True))
    only_b = sum(y and not x for x, y in zip(verdicts_a, verdicts_b, strict=True))
    low, high = paired_interval(only_a, only_b, len(both))
    return Comparison(
        board=board,
        a=a,
        b=b,
        n=len(both),
        right_a=sum(verdicts_a),
        right_b=sum(verdicts_b),
        difference=(only_b - only_a) / len(both),
        low=low,
        high=high,
        p_value=paired(verdicts_a, verdicts_b),
    )


def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a difference of paired proportions (Bonett and Price, 2012): sound for few examples too."""
    first, second = (only_b + 1) / (n + 2), (only_a + 1) / (n + 2)
    middle = first - second
    spread = Z95 * math.sqrt((first + second - middle * middle) / (n + 2))
    return max(-1.0, middle - spread), min(1.0, middle + spread)
