"""How much more often one target is right than another, on the same examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from advbench.rates.comparison import paired_interval
from advbench.rates.uncertainty import SIGNIFICANT, binomial


@dataclass(frozen=True)
class Difference:
    """A's robust accuracy less B's."""

    value: float
    low: float
    high: float
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value < SIGNIFICANT


def differences(right: Mapping[str, int], n: int) -> dict[tuple[str, str], Difference]:
    """By every ordered pair of targets. `right` has a bit for each of n examples, set where the target is right."""
    pairs = {}
    keys = list(right)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            only_a, only_b = (right[a] & ~right[b]).bit_count(), (right[b] & ~right[a]).bit_count()
            low, high = paired_interval(only_b, only_a, n)
            p_value = binomial(min(only_a, only_b), only_a + only_b)
            value = (only_a - only_b) / n
            pairs[a, b] = Difference(value, low, high, p_value)
            pairs[b, a] = Difference(-value, -high, -low, p_value)
    return pairs
