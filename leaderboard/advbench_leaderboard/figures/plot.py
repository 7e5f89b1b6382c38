"""Series of an analysis as lines, marks or bars with their intervals, and the paper's curves beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from advbench_leaderboard.facts.series import Drawn, Point, thinned
from advbench_leaderboard.figures.chart import BOTTOM, LEFT, RIGHT, SERIES, TOP, Chart, mark
from advbench_leaderboard.figures.scale import Scale, shown_number
from advbench_leaderboard.figures.svg import element, frame, group

WIDTH, HEIGHT = 640.0, 380.0
LETTER = 11.0
"""Width of a letter on a phone, in the picture's units."""
ALONG, MARKS, ALL_MARKS, BAND = 120, 12, 400, 40
"""Points along a line, marks on it, marks of all series of a plane, points along a band: more would tell no more."""
WHISKERS = 24
"""From so many points on, intervals are drawn as a band."""
FEW, APART = 12, 8.0
"""Where marks stand at so few places, those of different series stand this far apart, and closer where they must."""
GAP = 0.2
"""What is left of a place between its bars and the next."""


def plot(title: str, description: str, series: Sequence[Drawn], kind: str, x_title: str, y_title: str) -> Markup:
    """There is at least one point."""
    every = [point for one in series for point in one.every]
    places = sorted({point.x for point in every})
    if len(places) * len(series) > ALL_MARKS:
        kind = "marks" if kind == "marks" else "lines"  # nobody could tell so many bars apart
    across = Scale(-0.5, len(places) - 0.5, 0, 1) if kind == "bars" else _spread([p.x for p in every], kind)
    up = _heights(every, kind)
    margin = max(LEFT, LETTER * max(len(shown_number(tick)) for tick in up.ticks()) + 14)
    end = max(RIGHT, LETTER / 2 * max(len(shown_number(x)) for x in (across.ticks(6) or [0.0])) + 8)
    chart = Chart(
        WIDTH,
        HEIGHT,
        _Places(across.low, across.high, margin, WIDTH - end, len(places))
        if kind == "bars"
        else Scale(across.low, across.high, margin, WIDTH - end),
        Scale(up.low, up.high, HEIGHT - BOTTOM, TOP),
        _short(x_title),
        _short(y_title),
        x_words=(lambda place: shown_number(places[round(place)])) if kind == "bars" else shown_number,
    )
    draw = {"marks": _marks, "bars": _bars}.get(kind, _line)
    groups = [
        group(
            element("title", one.name),
            *draw(one, place, len(series), chart, places),
            class_=f"series s{place}" if place < SERIES else "series rest",
            data_series=f"l{place}",
        )
        for place, one in enumerate(series)
    ]
    return frame(title, description, WIDTH, HEIGHT, chart.axes(), *reversed(groups), class_="plot")


@dataclass(frozen=True)
class _Places(Scale):
    """Bars stand side by side, whatever lies between their numbers."""

    count: int

    def ticks(self, about: int = 5) -> list[float]:
        return [float(place) for place in range(0, self.count, -(-self.count // about))]


def _spread(values: Sequence[float], kind: str) -> Scale:
    low, high = min(values), max(values)
    aside = 0.06 * (high - low) if kind == "marks" else 0.0
    if low == high:
        aside = abs(low) / 2 or 1.0
    return Scale(low - aside, high + aside, 0, 1)


def _heights(every: Sequence[Point], kind: str) -> Scale:
    """From the lowest end of an interval to the highest; from nought where that is not far, and always with bars."""
    ends = [end for p in every for end in (p.y, p.low, p.high) if end is not None]
    low, high = min(ends), max(ends)
    if kind == "bars" or (kind == "lines" and 0 < low < (high - low)):
        low, high = min(low, 0.0), max(high, 0.0)
    aside = 0.05 * (high - low) or abs(high) / 2 or 1.0
    return Scale(low if low == 0 else low - aside, high if high == 0 else high + aside, 0, 1)


def _line(one: Drawn, place: int, count: int, chart: Chart, places: Sequence[float]) -> list[Markup]:
    parts = _theirs(one.published, chart)
    if one.ours:
        way = [(chart.x(p.x), chart.y(p.y)) for p in thinned(one.ours, ALONG)]
        parts += _intervals(one.ours, chart)
        parts.append(element("path", d=_way(way), class_="line"))
        parts += [mark(place, chart.x(p.x), chart.y(p.y)) for p in thinned(one.ours, MARKS)]
    return parts


def _marks(one: Drawn, place: int, count: int, chart: Chart, places: Sequence[float]) -> list[Markup]:
    few = thinned(one.ours, max(12, ALL_MARKS // count))
    aside = _aside(place, count, chart, places)
    known = [(p.x, p.low, p.high) for p in few if p.low is not None and p.high is not None]
    marks = [mark(place, chart.x(p.x) + aside, chart.y(p.y)) for p in few]
    return [*_rings(one.published, chart, aside), *_whiskers(known, chart, aside), *marks]


def _aside(place: int, count: int, chart: Chart, places: Sequence[float]) -> float:
    """How far the marks of a series stand beside their place, where others would lie on them."""
    if count == 1 or not 1 < len(places) <= FEW:
        return 0.0
    gap = min(chart.x(b) - chart.x(a) for a, b in pairwise(places))
    room = min(APART, 0.6 * gap / count, 2 * (chart.x(places[0]) - chart.x.start) / count)
    return (place - (count - 1) / 2) * room


def _bars(one: Drawn, place: int, count: int, chart: Chart, places: Sequence[float]) -> list[Markup]:
    """One shape for all bars of a series, so that a histogram costs a few kilobytes."""
    number = {x: i for i, x in enumerate(places)}
    wide = (1 - GAP) / count
    left = -0.5 + GAP / 2 + place * wide
    base, bars, reach = chart.y(0.0), [], []
    for p in one.ours:
        start, end = chart.x(number[p.x] + left), chart.x(number[p.x] + left + wide)
        bars.append(f"M{start:.1f} {base:.1f}V{chart.y(p.y):.1f}H{end:.1f}V{base:.1f}z")
        if p.low is not None and p.high is not None:
            reach.append(f"M{(start + end) / 2:.1f} {chart.y(p.low):.1f}V{chart.y(p.high):.1f}")
    rings = [_ring(chart.x(number[p.x] + left + wide / 2), chart.y(p.y)) for p in thinned(one.published, ALONG)]
    return [
        *([element("path", d="".join(bars), class_="bars")] if bars else []),
        *([element("path", d="".join(reach), class_="reach")] if reach else []),
        *rings,
    ]


def _theirs(points: Sequence[Point], chart: Chart) -> list[Markup]:
    if not points:
        return []
    way = [(chart.x(p.x), chart.y(p.y)) for p in thinned(points, ALONG)]
    line = [element("path", d=_way(way), class_="line theirs")] if len(way) > 1 else []
    return line + _rings(thinned(points, MARKS), chart)


def _rings(points: Sequence[Point], chart: Chart, aside: float = 0.0) -> list[Markup]:
    return [_ring(chart.x(p.x) + aside, chart.y(p.y)) for p in thinned(points, ALONG)]


def _ring(x: float, y: float) -> Markup:
    return element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=4.5, class_="ring")


def ring_swatch() -> Markup:
    """What stands before the name of a curve that the paper alone has."""
    ring = element("circle", cx=14, cy=7, r=4.5, class_="ring")
    line = element("path", d="M1 7H8M20 7H27", class_="line theirs")
    return element("svg", line, ring, class_="swatch", width=28, height=14, aria_hidden="true")


def _intervals(points: Sequence[Point], chart: Chart) -> list[Markup]:
    known = [(p.x, p.low, p.high) for p in thinned(points, ALONG) if p.low is not None and p.high is not None]
    if len(known) < 2 or len(known) <= WHISKERS:
        return _whiskers(known, chart)
    ends = thinned([p for p in points if p.low is not None and p.high is not None], BAND)
    there = [(chart.x(p.x), chart.y(p.high or 0.0)) for p in ends]
    back = [(chart.x(p.x), chart.y(p.low or 0.0)) for p in reversed(ends)]
    return [element("path", d=_way(there + back) + "z", class_="between")]


def _way(points: Sequence[tuple[float, float]]) -> str:
    """A line through them, to a tenth of a pixel."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _whiskers(known: Sequence[tuple[float, float, float]], chart: Chart, aside: float = 0.0) -> list[Markup]:
    """All of a series as one shape."""
    ways = [f"M{chart.x(x) + aside:.1f} {chart.y(low):.1f}V{chart.y(high):.1f}" for x, low, high in known]
    return [element("path", d="".join(ways), class_="reach")] if ways else []


def _short(text: str) -> str:
    return text if len(text) <= 46 else f"{text[:45]}…"
