"""What an analysis finds: numbers with intervals, points of curves, pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """A number, with the interval that it lies in and how many examples stand behind it."""

    name: str
    value: float | None
    """None where it could not be told: there was nothing to count."""
    low: float | None = None
    high: float | None = None
    """Without an interval a number is exact, as what is computed of a matrix, unless `n` says that it was counted: then
    nobody knows how far it may be off, and it decides no claim."""
    n: int | None = None
    unit: str = ""


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A curve, or marks in a plane, by a name that the figure's legend shows."""

    name: str
    points: tuple[Point, ...]

    @classmethod
    def of(cls, name: str, points: Iterable[tuple[float, ...]]) -> Series:
        """From pairs, or from quadruples with an interval."""
        return cls(name, tuple(Point(*map(float, point)) for point in points))


@dataclass(frozen=True)
class Picture:
    """An image (channels, height, width) with numbers from 0 to 1."""

    name: str
    pixels: Any
    """A tensor, or what `numpy.asarray` takes."""
    caption: str = ""
    of_data: bool = True
    """Whether it shows an image of a data set or what was made of one; False for noise, directions, plots."""


@dataclass(frozen=True)
class Findings:
    """All that one analysis found; names are unique within each of the three."""

    numbers: tuple[Finding, ...] = ()
    series: tuple[Series, ...] = ()
    pictures: tuple[Picture, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(self.numbers + other.numbers, self.series + other.series, self.pictures + other.pictures)
