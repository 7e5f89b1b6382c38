"""What was found held against what is stored, as far as another machine's rounding allows."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

from advbench.store.study_rows import FindingRow, Found, PictureRow, PointRow

NEAR = 1e-4
"""Relative to the largest of a number and its interval, or of a curve: how far another machine's rounding may move what
is worked out from networks."""
NOTHING = 1e-7
"""So small a number is nothing but rounding."""
SHADES = 2
"""Levels of 255 by which a picture's pixel may differ."""
MOST_OTHER = 0.01
"""The share of a picture's pixels that may differ by more: those at an edge that rounding moved."""


def differences(fresh: Found, stored: Found) -> list[str]:
    """Where what is found again is not what is stored, in words."""
    return [*_other_findings(fresh, stored), *_other_points(fresh, stored), *_other_pictures(fresh, stored)]


def _other_findings(fresh: Found, stored: Found) -> list[str]:
    wrong = []
    ours = {one.name: one for one in fresh.findings}
    for one in stored.findings:
        if one.name not in ours:
            wrong.append(f"{one.name}: not found again")
            continue
        again = ours[one.name]
        if (again.n, again.unit) != (one.n, one.unit):
            wrong.append(f"{one.name}: of {again.n} in {again.unit!r} instead of {one.n} in {one.unit!r}")
        elif _apart(_numbers(again), _numbers(one)):
            wrong.append(f"{one.name}: {_brief(again)} instead of {_brief(one)}")
    return wrong + [f"{name}: not stored" for name in ours.keys() - {one.name for one in stored.findings}]


def _other_points(fresh: Found, stored: Found) -> list[str]:
    if [(p.series, p.position, p.name) for p in fresh.points] != [
        (p.series, p.position, p.name) for p in stored.points
    ]:
        return ["other points are stored"]
    wrong = []
    for name in dict.fromkeys(one.name for one in stored.points):
        ours, theirs = ([one for one in points if one.name == name] for points in (fresh.points, stored.points))
        along = _apart([one.x for one in ours], [one.x for one in theirs])
        upright = _apart([y for one in ours for y in _heights(one)], [y for one in theirs for y in _heights(one)])
        if along or upright:
            wrong.append(f"points of {name} lie elsewhere")
    return wrong


def _other_pictures(fresh: Found, stored: Found) -> list[str]:
    if len(fresh.pictures) != len(stored.pictures):
        return [f"{len(stored.pictures)} pictures are stored, {len(fresh.pictures)} come out"]
    pairs = zip(fresh.pictures, stored.pictures, strict=True)
    return [f"the picture {theirs.name} looks otherwise" for ours, theirs in pairs if _looks_otherwise(ours, theirs)]


def _looks_otherwise(ours: PictureRow, theirs: PictureRow) -> bool:
    if any(getattr(ours, what) != getattr(theirs, what) for what in ("name", "caption", "channels", "height", "width")):
        return True
    size = ours.channels * ours.height * ours.width
    try:
        levels = zlib.decompressobj().decompress(theirs.pixels, size + 1)
    except zlib.error:
        return True
    if len(levels) != size:
        return True
    one, other = (np.frombuffer(raw, np.uint8).astype(np.int16) for raw in (zlib.decompress(ours.pixels), levels))
    return float((abs(one - other) > SHADES).mean()) > MOST_OTHER


def _numbers(one: FindingRow) -> Sequence[float | None]:
    return one.value, one.low, one.high


def _heights(one: PointRow) -> Sequence[float | None]:
    return one.y, one.low, one.high


def _apart(ours: Sequence[float | None], theirs: Sequence[float | None]) -> bool:
    """Whether two rows of numbers differ by more than rounding, by the scale of the largest of them."""
    if [one is None for one in ours] != [one is None for one in theirs]:
        return True
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not all(math.isfinite(a) and math.isfinite(b) for a, b in pairs):
        return True  # nothing that is found is infinite
    room = NOTHING + NEAR * max((abs(a) for a, _ in pairs), default=0.0)
    return any(abs(a - b) > room for a, b in pairs)


def _brief(one: FindingRow) -> str:
    ends = "" if one.low is None or one.high is None else f" [{one.low}, {one.high}]"
    return f"{one.value}{ends}"
