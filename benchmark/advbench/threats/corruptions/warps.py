"""Corruptions that move pixels: rotation, shear, elastic deformation."""

from __future__ import annotations

import math

from torch import Tensor

from advbench.draws import Draws
from advbench.threats.corruptions.fields import blurred, places, sampled, unit

ANGLE = 0.4
"""Radians, 23 degrees."""
SHEAR = 0.4
JITTER = 2.8
"""How far, in MNIST pixels, each of three points of the image moves."""
RIPPLE, SMOOTH = 0.6, 3.0
"""Height and width of the waves on top, in MNIST pixels."""


def rotate(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Turn images by 23 degrees about the centre, one way or the other."""
    angle = (ANGLE * severity * draws.sign(1, 1, 1, dtype=x.dtype)).squeeze(1)
    row, column = places(x)
    return sampled(x, angle.sin() * column + angle.cos() * row, angle.cos() * column - angle.sin() * row)


def shear(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Rows pushed sideways, by 0.4 pixels a row."""
    push = (SHEAR * severity * draws.sign(1, 1, 1, dtype=x.dtype)).squeeze(1)
    row, column = places(x)
    return sampled(x, row + 0 * column + 0 * push, column - push * row)


def elastic(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """A random affine map with a wave on top (Simard et al., 2003)."""
    pixel = unit(x)
    row, column = places(x)
    third = 28 / 3 * pixel
    points = JITTER * pixel * draws.uniform(2, 3, low=-1.0, high=1.0, dtype=x.dtype)[..., None, None]
    moved = (
        points[:, :, 0]
        + (points[:, :, 1] - points[:, :, 0]) * (column + third) / (2 * third)
        + (points[:, :, 2] - points[:, :, 0]) * (third - row) / (2 * third)
    )
    width = SMOOTH * pixel
    waves = blurred(draws.uniform(2, *x.shape[-2:], low=-1.0, high=1.0, dtype=x.dtype), width, width)
    # white noise of variance 1/3 keeps 1 / (2 sqrt(pi) width) of its height under a blur
    waves = waves * (RIPPLE * pixel * math.sqrt(3) * max(1.0, 2 * math.sqrt(math.pi) * width))
    down, across = (severity * (moved + waves)).unbind(1)
    return sampled(x, row + down, column + across)
