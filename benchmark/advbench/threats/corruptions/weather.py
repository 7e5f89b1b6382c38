"""What falls on the lens: fog, frost, spatter."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.threats.corruptions.fields import Sides, blurred, places, plasma, sampled, unit

FOG = 3.0
ICE, SHADE = 0.75, 0.4
NEEDLES = 5
"""Directions in which ice crystals grow."""
MUD = (63 / 255, 42 / 255, 20 / 255)


def fog(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """A bright landscape in front of the image, which fades to a quarter of its contrast."""
    thick = FOG * severity
    cloud = 0.25 + 0.5 * plasma(_sides(x), draws, decay=1.96)
    brightest = x.flatten(1).amax(1)[:, None, None, None].clamp_min(1e-12)
    return (x + thick * cloud) * brightest / (brightest + thick)


def frost(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Ice on the glass, over an image that darkens."""
    return (1 - SHADE * severity) * x + ICE * severity * _ice(x, draws)


def _ice(x: Tensor, draws: Draws) -> Tensor:
    """White needles in several directions, thick where a landscape is high."""
    sides = _sides(x)
    land = plasma(sides, draws, decay=1.6)
    row, column = places(x)
    needles = torch.zeros_like(land)
    for k in range(NEEDLES):
        ridges = plasma(sides, draws, decay=1.15)
        ridges = (1 - (2 * ridges - 1).abs() * 2.5).clamp_min(0)
        # the landscape is read four times slower along the needles than across them
        turn = draws.uniform(1, 1, low=0.0, high=math.pi / NEEDLES, dtype=x.dtype) + k * math.pi / NEEDLES
        along, across = turn.cos() * column + turn.sin() * row, turn.cos() * row - turn.sin() * column
        long = along / 4
        back = turn.cos() * across + turn.sin() * long, turn.cos() * long - turn.sin() * across
        needles = torch.maximum(needles, sampled(ridges, 0.7 * back[0], 0.7 * back[1]))
    return (0.15 + 0.45 * land + 0.75 * needles * (0.3 + land)).clamp(0, 1)


def spatter(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Drops of mud: where smooth noise is high."""
    pixel = unit(x)
    drop = max(pixel, 0.5)
    liquid = blurred(draws.normal(1, *_sides(x), dtype=x.dtype), drop, drop)
    level = 2 * (1 - severity) / (2 * math.sqrt(math.pi) * drop)  # in deviations of the blurred noise
    mud = blurred((liquid > level).to(x.dtype), 1.5 * drop, 1.5 * drop)
    mud = torch.where(mud < 0.8, 0, mud)
    colour = x.new_tensor(MUD if x.shape[1] == 3 else [MUD[0]] * x.shape[1]).view(1, -1, 1, 1)
    return x * (1 - mud) + colour * mud


def _sides(x: Tensor) -> Sides:
    return x.shape[-2], x.shape[-1]
