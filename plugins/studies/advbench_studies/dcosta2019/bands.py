"""Curves of means, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable

from advbench import Finding, Point, Series, mean


def band(name: str, columns: Iterable[tuple[float, Iterable[float]]]) -> Series:
    """A point for each x: the mean of its values; those without values are left out."""
    return through(name, ((x, mean("", values)) for x, values in columns))


def through(name: str, found: Iterable[tuple[float, Finding]]) -> Series:
    """A curve through findings, with their intervals."""
    return Series(
        name, tuple(Point(float(x), one.value, one.low, one.high) for x, one in found if one.value is not None)
    )
