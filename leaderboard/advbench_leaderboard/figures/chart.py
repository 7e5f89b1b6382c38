"""A rectangle with two axes in words, for curves and points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from advbench_leaderboard.figures.scale import Scale, shown_number
from advbench_leaderboard.figures.svg import element, group, label

LEFT, RIGHT, TOP, BOTTOM = 56.0, 28.0, 50.0, 56.0
"""What a chart leaves beside its rectangle for words, which a phone shows almost twice as large (see `site.css`)."""
SERIES = 8
"""How many series have a colour, a dash and a mark of their own: classes `s0` to `s7`."""


@dataclass(frozen=True)
class Chart:
    """Where things go. `x` and `y` are scales in the picture's units."""

    width: float
    height: float
    x: Scale
    y: Scale
    x_title: str
    y_title: str
    x_words: Callable[[float], str] = shown_number
    y_words: Callable[[float], str] = shown_number

    def axes(self) -> Markup:
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        parts = [
            group(
                *(element("path", d=f"M{left} {self.y(v):.1f}H{right}") for v in self.y.ticks()),
                class_="grid",
            ),
            element("path", d=f"M{left} {bottom}H{right}", class_="axis"),
            *(label(self.y_words(v), left - 8, self.y(v) + 4, anchor="end", class_="tick") for v in self.y.ticks()),
            *(label(self.x_words(v), self.x(v), bottom + 20, anchor="middle", class_="tick") for v in self.x.ticks(6)),
            label(self.x_title, (left + right) / 2, bottom + 44, anchor="middle", class_="title"),
            label(self.y_title, 4, top - 28, class_="title"),
        ]
        return group(*parts, class_="axes", aria_hidden="true")


def shapes() -> Markup:
    """The marks of the series, to be used by number: told apart without colour. Once a page."""
    drawn = (
        element("circle", r=4),
        element("path", d="M-3.7-3.7H3.7V3.7H-3.7z"),
        element("path", d="M0-4.8L4.8 3.6H-4.8z"),
        element("path", d="M0-5.2L5.2 0L0 5.2L-5.2 0z"),
        element("path", d="M0 4.8L4.8-3.6H-4.8z"),
        element("path", d="M-4.5 0H4.5M0-4.5V4.5", class_="open"),
        element("path", d="M-3.7-3.7L3.7 3.7M-3.7 3.7L3.7-3.7", class_="open"),
        element("circle", r=3.6, class_="open"),
    )
    marks = (group(shape, id=f"mark{place}", class_="mark") for place, shape in enumerate(drawn))
    return element("defs", *marks)


def mark(series: int, x: float, y: float) -> Markup:
    return element("use", href=f"#mark{series % SERIES}", x=f"{x:.1f}", y=f"{y:.1f}")


def swatch(series: int) -> Markup:
    """What stands before a name in a legend."""
    line = element("path", d="M1 7H27", class_="line")
    return element("svg", line, mark(series, 14, 7), class_="swatch", width=28, height=14, aria_hidden="true")
