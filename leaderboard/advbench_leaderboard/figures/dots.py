"""Rates side by side: a row a column of the board, a mark with its interval a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from advbench_leaderboard.facts.rate import Rate
from advbench_leaderboard.figures.chart import SERIES, mark
from advbench_leaderboard.figures.scale import Scale
from advbench_leaderboard.figures.svg import element, frame, group, label

WORDS, MARKS = 24.0, 34.0
ROW = WORDS + MARKS
"""A row's name stands above its marks, so that both have the figure's whole width: on a phone there is no more."""
SIDE, TOP, BOTTOM, WIDTH = 28.0, 30.0, 56.0, 640.0
SLOT = 3.4
"""How far the marks of neighbouring series stand apart within a row."""
FIRST = 4
"""Series that are shown before anybody chooses."""


@dataclass(frozen=True)
class Series:
    key: str
    label: str
    rates: Sequence[Rate | None]


def dots(
    title: str, description: str, rows: Sequence[str], series: Sequence[Series], *, x_title: str, y_title: str
) -> Markup:
    x = Scale(0.0, 1.0, SIDE, WIDTH - SIDE)
    bottom = TOP + ROW * len(rows)
    bands = [
        element("rect", x=0, y=TOP + ROW * i, width=WIDTH, height=ROW, class_="band") for i in range(1, len(rows), 2)
    ]
    grid = [element("path", d=f"M{x(v):.1f} {TOP}V{bottom}") for v in x.ticks()]
    axes = group(
        *bands,
        group(*grid, class_="grid"),
        *(label(f"{100 * v:.0f}", x(v), bottom + 20, anchor="middle", class_="tick") for v in x.ticks()),
        *(label(_short(row), 6, TOP + ROW * i + 18, class_="row") for i, row in enumerate(rows)),
        label(y_title, 6, TOP - 10, class_="title"),
        label(x_title, WIDTH / 2, bottom + 44, anchor="middle", class_="title"),
        class_="axes",
    )
    groups = [_group(place, one, x) for place, one in enumerate(series)]
    return frame(title, description, WIDTH, bottom + BOTTOM, axes, *groups, class_="dots")


def offset(slot: int, shown: int = FIRST) -> float:
    return (slot - (shown - 1) / 2) * SLOT * 2


def _group(place: int, one: Series, x: Scale) -> Markup:
    parts = []
    for row, rate in enumerate(one.rates):
        if rate is None:
            continue
        y = TOP + ROW * row + WORDS + MARKS / 2
        parts.append(element("path", d=f"M{x(rate.low):.1f} {y}H{x(rate.high):.1f}", class_="reach"))
        parts.append(mark(place % SERIES, x(rate.value), y))
    chosen = place < FIRST
    return group(
        element("title", one.label),
        *parts,
        class_=f"series s{place % SERIES}" + ("" if chosen else " off"),
        data_series=one.key,
        transform=f"translate(0 {offset(place if chosen else 0):.1f})",
    )


def _short(text: str) -> str:
    return text if len(text) <= 56 else f"{text[:55]}…"
