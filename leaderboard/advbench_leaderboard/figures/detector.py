"""What a detector sees: suspicion of clean and of fooled images, and what it lets through at every threshold."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from advbench.rates.uncertainty import DetectorPoint
from advbench_leaderboard.figures.chart import BOTTOM, LEFT, RIGHT, TOP, Chart, mark
from advbench_leaderboard.figures.scale import Scale, shown_number
from advbench_leaderboard.figures.svg import element, frame, group, label, path

WIDTH, HEIGHT = 560.0, 300.0
BINS = 24


@dataclass(frozen=True)
class Bin:
    """Suspicions from `low` to below `high`; the last one also holds all that is larger."""

    low: float
    high: float
    clean: float
    """Share of the clean images, and of the fooled ones."""
    fooled: float


def bins(clean: Sequence[float | None], fooled: Sequence[float | None], threshold: float | None) -> list[Bin]:
    """Evenly wide, up to where 99 of 100 suspicions and the threshold lie; what is no finite number is in none."""
    groups = [[v for v in values if v is not None and math.isfinite(v)] for values in (clean, fooled)]
    known = sorted([*groups[0], *groups[1], *([threshold] if threshold is not None else [])])
    if not known:
        return []
    low = known[0]
    far = max(known[int(0.99 * (len(known) - 1))], low if threshold is None else threshold)
    span = (far - low) or 1.0
    edges = [low + span * i / BINS for i in range(BINS + 1)]
    counts = [[0] * BINS, [0] * BINS]
    for values, count in zip(groups, counts, strict=True):
        for value in values:
            count[min(BINS - 1, bisect_right(edges, value) - 1)] += 1
    totals = [max(1, len(clean)), max(1, len(fooled))]
    return [Bin(edges[i], edges[i + 1], counts[0][i] / totals[0], counts[1][i] / totals[1]) for i in range(BINS)]


def histogram(title: str, spans: Sequence[Bin], threshold: float | None) -> Markup:
    top = max((max(one.clean, one.fooled) for one in spans), default=0.0) or 1.0
    chart = Chart(
        WIDTH,
        HEIGHT,
        Scale(spans[0].low, spans[-1].high, LEFT, WIDTH - RIGHT),
        Scale(0.0, top * 1.05, HEIGHT - BOTTOM, TOP),
        "Suspicion",
        "Share of images, %",
        y_words=lambda share: f"{100 * share:.3g}",
    )
    kinds = []
    for place, name in enumerate(("clean", "fooled")):
        shares = [one.clean if name == "clean" else one.fooled for one in spans]
        points = []
        for one, share in zip(spans, shares, strict=True):
            points += [(chart.x(one.low), chart.y(share)), (chart.x(one.high), chart.y(share))]
        middle = [
            mark(place, chart.x((one.low + one.high) / 2), chart.y(share))
            for one, share in zip(spans, shares, strict=True)
            if share
        ]
        kinds.append(group(element("path", d=path(points), class_="line"), *middle, class_=f"series s{place}"))
    parts = [chart.axes()]
    if threshold is not None:
        at = chart.x(threshold)
        words = f"alarm above {shown_number(threshold)}"
        parts.append(_line_at(chart, at, words))
    return frame(
        title,
        "Two outlines, one of clean images and one of images that fooled; the further they lie apart, the better the "
        "detector tells them apart. The last bar also holds all larger suspicions.",
        WIDTH,
        HEIGHT,
        *parts,
        *kinds,
    )


def _line_at(chart: Chart, at: float, words: str) -> Markup:
    right = at < WIDTH * 0.5
    return group(
        element("path", d=f"M{at:.1f} {chart.y.start}V{chart.y.end}"),
        label(words, at + (6 if right else -6), chart.y.end - 6, anchor="start" if right else "end"),
        class_="here",
    )


def detector_curves(title: str, curve: Sequence[DetectorPoint], threshold: float | None) -> Markup:
    """Undetected against false positives, as a line through what a threshold can do."""
    top = max(point.undetected for point in curve) or 1.0
    chart = Chart(
        WIDTH,
        HEIGHT,
        Scale(0.0, 1.0, LEFT, WIDTH - RIGHT),
        Scale(0.0, min(1.0, top * 1.1), HEIGHT - BOTTOM, TOP),
        "False alarms on clean images, %",
        "Fooled without an alarm, %",
        x_words=lambda share: f"{100 * share:.0f}",
        y_words=lambda share: f"{100 * share:.3g}",
    )
    steps: list[tuple[float, float]] = []
    for point in sorted(curve, key=lambda point: (point.false_positives, -point.undetected)):
        place = (chart.x(point.false_positives), chart.y(point.undetected))
        if steps:
            steps.append((place[0], steps[-1][1]))
        steps.append(place)
    parts = [chart.axes(), group(element("path", d=path(steps), class_="line"), class_="series s0")]
    if threshold is not None:
        now = _at_threshold(curve, threshold)
        here = mark(1, chart.x(now.false_positives), chart.y(now.undetected))
        parts.append(group(here, class_="series s1"))
    return frame(
        title,
        "A line that falls from left to right: the more false alarms are allowed, the fewer attacked images pass.",
        WIDTH,
        HEIGHT,
        *parts,
    )


def _at_threshold(curve: Sequence[DetectorPoint], threshold: float) -> DetectorPoint:
    return max((point for point in curve if point.threshold <= threshold), key=lambda point: point.threshold)
