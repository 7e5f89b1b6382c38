"""Bright strokes drawn over the image: a line, a dotted one, a zigzag."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.threats.corruptions.fields import places, unit

TEETH = 7
"""Strokes of a zigzag."""


def line(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """From the left edge to the right one, at random heights."""
    begin, end, left, right = _ends(x, draws, 4)
    width = x.shape[-1]
    first, last = (0.18 * left - 0.5) * width, (0.5 - 0.18 * right) * width
    return x + severity * _ink(x, _distance(x, (begin, first), (end, last)))


def dotted_line(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """A line of dashes and gaps of 2 MNIST pixels each."""
    begin, end = _ends(x, draws, 2)
    _, column = places(x)
    edge = begin.new_full(begin.shape, x.shape[-1] / 2)
    dash = max(1, round(2 * unit(x)))
    shown = ((column - column[0, 0]) / dash).floor() % 2 == 1
    return x + severity * _ink(x, _distance(x, (begin, -edge), (end, edge))) * shown


def zigzag(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Teeth of 2 MNIST pixels along a slightly sloping line."""
    height, width = x.shape[-2:]
    begin, slope = _ends(x, draws, 2)
    rise = 10 * unit(x) * slope / height  # 5 MNIST pixels at most
    tooth = 2 * unit(x)
    nearest = x.new_full((len(x), 1, height, width), torch.inf)
    for k in range(TEETH):
        corners = []
        for at in (k, k + 1):
            bend = 0.0 if at in (0, TEETH) else tooth * (-1) ** at
            share = at / TEETH
            corners.append((begin + rise * share + bend, begin.new_full(begin.shape, (0.85 * share - 0.43) * width)))
        nearest = torch.minimum(nearest, _distance(x, corners[0], corners[1]))
    return x + severity * _ink(x, nearest)


Point = tuple[Tensor, Tensor]


def _ends(x: Tensor, draws: Draws, count: int) -> list[Tensor]:
    """Random numbers (N, 1, 1, 1): two heights, as rows seen from the centre, then shares from 0 to 1."""
    shares = draws.uniform(count, dtype=x.dtype)[..., None, None, None].unbind(1)
    return [(share - 0.5) * x.shape[-2] if place < 2 else share for place, share in enumerate(shares)]


def _distance(x: Tensor, begin: Point, end: Point) -> Tensor:
    """How far every pixel is from a segment."""
    row, column = places(x)
    down, across = end[0] - begin[0], end[1] - begin[1]
    length = (down.square() + across.square()).clamp_min(1e-12)
    share = (((row - begin[0]) * down + (column - begin[1]) * across) / length).clamp(0, 1)
    return ((row - begin[0] - share * down).square() + (column - begin[1] - share * across).square()).sqrt()


def _ink(x: Tensor, distance: Tensor) -> Tensor:
    """White on the stroke, gone after one and a half MNIST pixels, as in corrupted MNIST."""
    width = 2.3 * max(unit(x), 0.5)  # on tiny images a thinner stroke would pass between the pixels
    return (1 + (1 - distance / width).clamp_min(1e-6).log()).clamp(0, 1)
