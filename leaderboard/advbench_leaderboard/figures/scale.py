"""From numbers to places, and the numbers that a reader expects on an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Linear, from `low`–`high` to `start`–`end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers within the scale: multiples of 1, 2 or 5 times a power of ten."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        power = 10 ** math.floor(math.log10(span / about))
        step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= about)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]


def shown_number(value: float) -> str:
    """Three figures that tell: 0.3, 12.5, 1,250."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
