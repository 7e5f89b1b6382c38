"""Where the mass of an image went: an arrow a pixel that it left."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from advbench_leaderboard.figures.svg import frame, group, strokes
from advbench_leaderboard.png import inflated

MOST = 120
"""Arrows that are drawn: the longest."""
LONGEST = 3.0
"""How many pixels long the longest arrow is."""
EDGE = 0.25
"""Pixels that stay free at the picture's edge."""


@dataclass(frozen=True)
class Move:
    row: int
    column: int
    down: float
    """Mass times the pixels that it went; likewise `right`."""
    right: float

    @property
    def length(self) -> float:
        return math.hypot(self.down, self.right)


def moves(packed: bytes, height: int, width: int) -> list[Move]:
    """The largest first; pixels that nothing left are no moves."""
    size = height * width
    values = struct.unpack(f"<{2 * size}e", inflated(packed, 4 * size))
    known = [
        Move(place // width, place % width, values[place], values[size + place])
        for place in range(size)
        if (values[place] or values[size + place]) and math.isfinite(values[place] + values[size + place])
    ]
    return sorted(known, key=lambda move: (-move.length, move.row, move.column))


def arrows(title: str, largest: Sequence[Move], height: int, width: int) -> Markup:
    """The longest is three pixels long, or as long as the picture has room for; the others in proportion."""
    drawn = largest[:MOST]
    unit = min([LONGEST / drawn[0].length, *(_room(move, height, width) for move in drawn)]) if drawn else 0.0
    ways = []
    for move in drawn:
        x, y = move.column + 0.5, move.row + 0.5
        dx, dy = move.right * unit, move.down * unit
        head = 0.35 * min(1.0, move.length * unit)
        angle = math.atan2(dy, dx)
        tips = [
            (x + dx - head * math.cos(angle + turn), y + dy - head * math.sin(angle + turn)) for turn in (0.5, -0.5)
        ]
        ends = "".join(f"M{tx:.2f} {ty:.2f}L{x + dx:.2f} {y + dy:.2f}" for tx, ty in tips)
        ways.append(f"M{x:.2f} {y:.2f}L{x + dx:.2f} {y + dy:.2f}{ends}")
    return frame(
        title,
        f"{len(drawn)} arrows, from the pixel that mass left to where it went on average; the length is "
        "the mass times its way, in proportion to the longest.",
        width,
        height,
        group(strokes(ways)),
        class_="arrows",
    )


def _room(move: Move, height: int, width: int) -> float:
    """How far its arrow may be stretched before it leaves the picture, with a little left for its head."""
    sides = ((move.column + 0.5, move.right, width), (move.row + 0.5, move.down, height))
    return min(
        ((size - EDGE - at if way > 0 else at - EDGE) / abs(way) for at, way, size in sides if way), default=math.inf
    )
