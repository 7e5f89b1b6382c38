"""Accuracy against radius, a line a target."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from advbench_leaderboard.facts.curves import Curve
from advbench_leaderboard.figures.chart import BOTTOM, LEFT, RIGHT, SERIES, TOP, Chart, mark
from advbench_leaderboard.figures.scale import Scale, shown_number
from advbench_leaderboard.figures.svg import element, frame, group, label, path

POINTS = 60
"""Radii at which a line is drawn, evenly from 0."""
WIDTH, HEIGHT = 640.0, 380.0


def reach(curves: Sequence[Curve], eps: float) -> float:
    """The largest radius that is drawn: where nine of ten changes have happened, and beyond the board's own."""
    sizes = sorted(size for curve in curves for size in curve.sizes)
    return max(1.25 * eps, sizes[int(0.9 * (len(sizes) - 1))] if sizes else 0.0)


def radii(curves: Sequence[Curve], eps: float, about: int = 10) -> list[float]:
    """Round radii for the table behind the figure, the board's own among them."""
    return sorted({*Scale(0.0, reach(curves, eps), 0, 1).ticks(about), eps})


def radius_curves(curves: Sequence[Curve], eps: float, ball: str) -> Markup:
    far = reach(curves, eps)
    chart = Chart(
        WIDTH,
        HEIGHT,
        Scale(0.0, far, LEFT, WIDTH - RIGHT),
        Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP),
        "Radius of the ball",
        "Accuracy, %",
        y_words=lambda share: f"{100 * share:.0f}",
    )
    at = chart.x(eps)
    words_right = at < WIDTH * 0.6
    own = group(
        element("path", d=f"M{at:.1f} {chart.y.start}V{chart.y.end}"),
        label(
            f"this board: {shown_number(eps)}",
            at + (6 if words_right else -6),
            chart.y.end - 6,
            anchor="start" if words_right else "end",
        ),
        class_="here",
    )
    lines = [_line(place, curve, chart, far) for place, curve in enumerate(curves)]
    best = max(curves, key=lambda curve: curve.accuracy(eps))
    return frame(
        f"Accuracy against radius, {ball}",
        f"{len(curves)} targets under minimal-norm attacks. Every line begins at the clean accuracy and falls as the "
        f"radius grows; at {shown_number(eps)} {best.label} is highest with {100 * best.accuracy(eps):.1f} %.",
        WIDTH,
        HEIGHT,
        chart.axes(),
        own,
        *reversed(lines),
        class_="curves",
    )


def _line(place: int, curve: Curve, chart: Chart, far: float) -> Markup:
    points = [(chart.x(r), chart.y(curve.accuracy(r))) for r in (far * i / POINTS for i in range(POINTS + 1))]
    first = 3 + place % SERIES  # marks of different lines stand beside each other where the lines meet
    marks = [mark(place, *point) for point in points[first::SERIES]]
    return group(
        element("title", curve.label),
        element("path", d=path(points), class_="line"),
        *marks,
        class_=f"series s{place}" if place < SERIES else "series rest",
        data_series=curve.target[:12],
    )
