"""A share that was counted: k of n."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.rates.uncertainty import wilson


@dataclass(frozen=True, slots=True)
class Rate:
    """k of n, with its 95 % interval; n is never 0."""

    k: int
    n: int

    @property
    def value(self) -> float:
        return self.k / self.n

    @property
    def low(self) -> float:
        return wilson(self.k, self.n)[0]

    @property
    def high(self) -> float:
        return wilson(self.k, self.n)[1]


def rate_of(k: int | None, n: int | None) -> Rate | None:
    """The rate of k among n; None where nothing was counted."""
    return None if k is None or not n else Rate(k, n)
