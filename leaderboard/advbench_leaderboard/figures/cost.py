"""How often an attack fools, against what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from advbench_leaderboard.figures.chart import BOTTOM, LEFT, RIGHT, SERIES, TOP, Chart, mark
from advbench_leaderboard.figures.scale import Scale, shown_number
from advbench_leaderboard.figures.svg import element, frame, group

WIDTH, HEIGHT = 640.0, 360.0


@dataclass(frozen=True)
class Logarithm(Scale):
    """A scale of powers of ten: `low` and `high` are logarithms."""

    def ticks(self, about: int = 5) -> list[float]:
        every = max(1, math.ceil((self.high - self.low) / about))
        return [float(power) for power in range(math.ceil(self.low), math.floor(self.high) + 1, every)]


def short_power(power: float) -> str:
    """1, 10, 100, 1k, …: as narrow as a phone needs it."""
    letter = int(power) // 3
    return f"{10 ** (int(power) % 3)}{'kMGT'[letter - 1]}" if 1 <= letter <= 4 else shown_number(10**power)


@dataclass(frozen=True)
class Point:
    passes: float
    """Forward and backward, per example."""
    fooled: float
    words: str


def costs(attack: str, series: Sequence[tuple[str, Sequence[Point]]], others: Sequence[Point]) -> Markup:
    """A mark a target, a kind of mark a board; the means of other attacks as small rings."""
    known = [math.log10(max(p.passes, 1.0)) for p in (*others, *(p for _, points in series for p in points))]
    low, high = math.floor(min(known, default=0.0)), math.ceil(max(known, default=1.0))
    chart = Chart(
        WIDTH,
        HEIGHT,
        Logarithm(low, max(high, low + 1), LEFT, WIDTH - RIGHT),
        Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP),
        "Passes per example, each step ten times as many",
        "Fooled, %",
        x_words=short_power,
        y_words=lambda share: f"{100 * share:.0f}",
    )

    def at(point: Point) -> tuple[float, float]:
        return chart.x(math.log10(max(point.passes, 1.0))), chart.y(point.fooled)

    rings = group(
        *(
            element("circle", element("title", p.words), cx=round(at(p)[0], 1), cy=round(at(p)[1], 1), r=2.5)
            for p in others
        ),
        class_="others",
    )
    drawn = [
        group(
            *(group(element("title", p.words), mark(place, *at(p))) for p in points),
            class_=f"series s{place % SERIES}",
        )
        for place, (_, points) in enumerate(series)
    ]
    return frame(
        f"How often {attack} fools, against passes",
        f"{sum(len(points) for _, points in series)} marks, one a target and board; rings are the means of the other "
        "attacks on these boards.",
        WIDTH,
        HEIGHT,
        chart.axes(),
        rings,
        *drawn,
    )
