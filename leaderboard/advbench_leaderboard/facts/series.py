"""What a chart draws: the series of an analysis with the published curves beside them, and their numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from advbench.store.study_rows import PointRow

ROWS = 12
"""Rows of the table behind a chart; downloads hold all points."""


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Drawn:
    """One entry of the legend: ours, the paper's, or both under one name."""

    name: str
    ours: tuple[Point, ...]
    published: tuple[Point, ...] = ()

    @property
    def every(self) -> tuple[Point, ...]:
        return self.ours + self.published


def chosen(name: str, wanted: Sequence[str]) -> bool:
    """Whether a name is among those that a section shows: all where none is named; a star ends a beginning."""
    return not wanted or any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in wanted)


def drawn(points: Iterable[PointRow], wanted: Sequence[str], published: Iterable[Sequence[object]]) -> list[Drawn]:
    """In the order of the analysis, then curves that the paper alone has."""
    ours: dict[str, list[Point]] = {}
    for row in points:
        if chosen(row.name, wanted) and math.isfinite(row.x) and math.isfinite(row.y):
            ours.setdefault(row.name, []).append(Point(row.x, row.y, row.low, row.high))
    theirs = {str(name): _read(curve) for name, curve in published}
    both = [Drawn(name, tuple(some), theirs.pop(name, ())) for name, some in ours.items()]
    return both + [Drawn(name, (), some) for name, some in theirs.items() if some]


def _read(curve: object) -> tuple[Point, ...]:
    pairs = curve if isinstance(curve, list) else []
    found = (Point(float(x), float(y)) for x, y in pairs)
    return tuple(point for point in found if math.isfinite(point.x) and math.isfinite(point.y))


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many of them, evenly, the first and the last among them."""
    last = len(points) - 1
    if last < most:
        return list(points)
    return [points[round(i * last / (most - 1))] for i in range(most)]


@dataclass(frozen=True)
class Columns:
    """Numbers of a chart by x, a column a series; a place where a series has no point is empty."""

    heads: tuple[str, ...]
    rows: tuple[tuple[float, tuple[Point | None, ...]], ...]
    left_out: int


@dataclass(frozen=True)
class Listed:
    """Numbers of a chart point by point, where series share few places."""

    rows: tuple[tuple[str, Point], ...]
    left_out: int


def columns(series: Sequence[Drawn], across: int = 8) -> Columns | Listed:
    """As columns where at most `across` series meet at the same places, else as a list."""
    parts = [(one.name, one.ours) for one in series if one.ours]
    parts += [(f"{one.name} (the paper)", one.published) for one in series if one.published]
    by_x: list[Mapping[float, Point]] = [{point.x: point for point in some} for _, some in parts]
    whole = all(len(found) == len(some) for found, (_, some) in zip(by_x, parts, strict=True))
    places = sorted({x for found in by_x for x in found})
    if whole and len(parts) <= across and 2 * sum(map(len, by_x)) >= len(places) * len(parts):
        few = (
            places if len(places) <= ROWS else [places[round(i * (len(places) - 1) / (ROWS - 1))] for i in range(ROWS)]
        )
        heads = tuple(name for name, _ in parts)
        rows = tuple((x, tuple(found.get(x) for found in by_x)) for x in few)
        kept = [column for column in range(len(parts)) if any(row[column] for _, row in rows)]
        return Columns(
            tuple(heads[column] for column in kept),
            tuple((x, tuple(row[column] for column in kept)) for x, row in rows),
            len(places) - len(few),
        )
    each = max(2, ROWS // max(1, len(parts)))
    listed = tuple((name, point) for name, some in parts for point in thinned(some, each))
    return Listed(listed[: 2 * ROWS], sum(len(some) for _, some in parts) - len(listed[: 2 * ROWS]))
