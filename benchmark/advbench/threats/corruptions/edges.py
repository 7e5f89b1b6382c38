"""The outlines of what is to be seen (Canny, 1986)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.draws import Draws
from advbench.threats.corruptions.fields import blurred

WIDTH, LOW, HIGH = 1.0, 0.1, 0.2
"""Pixels of blur before looking, and the slopes at which an edge goes on and begins."""


def canny(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """The image fades into white outlines on black."""
    return x + severity * (_edges(x) - x)


def _edges(x: Tensor) -> Tensor:
    grey = x.detach().mean(1, keepdim=True) if x.shape[1] != 3 else _brightness(x.detach())
    smooth = F.pad(blurred(grey, WIDTH, WIDTH), (1, 1, 1, 1), mode="replicate")
    upper, level, lower = smooth[..., :-2, :], smooth[..., 1:-1, :], smooth[..., 2:, :]
    across = (_steps(upper) + 2 * _steps(level) + _steps(lower)) / 4
    beside = (smooth[..., :-2] + 2 * smooth[..., 1:-1] + smooth[..., 2:]) / 4
    down = beside[..., 2:, :] - beside[..., :-2, :]
    # a slope that is only rounding has no direction
    slope = (across.square() + down.square()).sqrt()
    ridge = slope * _crest(slope, across, down)
    kept, begun = ridge > LOW, (ridge > HIGH).to(x.dtype)
    while True:  # an edge that has begun goes on along what is kept
        grown = F.max_pool2d(begun, 3, 1, 1) * kept
        if torch.equal(grown, begun):
            return grown
        begun = grown


def _brightness(x: Tensor) -> Tensor:
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def _steps(rows: Tensor) -> Tensor:
    return rows[..., 2:] - rows[..., :-2]


def _crest(slope: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Where the slope is highest along its own direction; of two equal neighbours the second counts."""
    height, width = slope.shape[-2:]
    padded = F.pad(slope, (1, 1, 1, 1))

    def moved(rows: int, columns: int) -> Tensor:
        return padded[..., 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    def highest(rows: int, columns: int) -> Tensor:
        return (slope >= moved(-rows, -columns)) & (slope > moved(rows, columns))

    flat = math.tan(math.pi / 8)
    sideways, upright = down.abs() <= flat * across.abs(), across.abs() <= flat * down.abs()
    slanted = torch.where(across * down > 0, highest(1, 1), highest(1, -1))
    return torch.where(sideways, highest(0, 1), torch.where(upright, highest(1, 0), slanted))
