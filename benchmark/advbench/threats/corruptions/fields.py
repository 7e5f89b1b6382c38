"""What several corruptions are made of: pixel coordinates, blur, random landscapes, resampling.

Sums are written out term by term: a matrix product or a convolution may round otherwise when the batch is another.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.draws import Draws

Sides = tuple[int, int]


def unit(x: Tensor) -> float:
    """A pixel of MNIST, in pixels of these images."""
    return min(x.shape[-2:]) / 28


def places(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (H, 1) and columns (1, W), seen from the centre."""
    height, width = x.shape[-2:]
    row = torch.arange(height, device=x.device, dtype=x.dtype) - (height - 1) / 2
    column = torch.arange(width, device=x.device, dtype=x.dtype) - (width - 1) / 2
    return row.unsqueeze(1), column.unsqueeze(0)


def blurred(x: Tensor, sigma: Tensor | float, widest: float) -> Tensor:
    """A Gaussian blur, as wide for each image as its `sigma` (N, 1, 1, 1) says; the border goes on outside."""
    reach = math.ceil(3 * widest)
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x), 1, 1, 1).clamp_min(1e-6)
    taps = [(-0.5 * (k / sigma).square()).exp() for k in range(-reach, reach + 1)]
    total = reduce(torch.add, taps)
    for dim in (2, 3):
        size = x.shape[dim]
        around = torch.arange(-reach, size + reach, device=x.device).clamp(0, size - 1)
        padded = x.index_select(dim, around)
        x = reduce(torch.add, (tap * padded.narrow(dim, k, size) for k, tap in enumerate(taps))) / total
    return x


def plasma(sides: Sides, draws: Draws, decay: float) -> Tensor:
    """A random landscape (N, 1, H, W) from 0 to 1, by diamonds and squares; heights fall by `decay` an octave."""
    side = 1 << max(1, (max(sides) - 1).bit_length())
    count, step, height = len(draws.ids), side, 1.0
    land = torch.zeros(count, side, side, dtype=torch.float64, device=draws.ids.device)
    while step > 1:
        half = step // 2
        corners = land[:, ::step, ::step]
        turned = corners + corners.roll(-1, 1)
        centres = (turned + turned.roll(-1, 2)) / 4 + _bumps(corners, draws, height)
        upright = corners + corners.roll(-1, 1) + centres + centres.roll(1, 2)
        level = corners + corners.roll(-1, 2) + centres + centres.roll(1, 1)
        sided = upright / 4 + _bumps(corners, draws, height)
        topped = level / 4 + _bumps(corners, draws, height)
        land[:, half::step, half::step] = centres
        land[:, half::step, ::step] = sided
        land[:, ::step, half::step] = topped
        step, height = half, height / decay
    land = land[:, None, : sides[0], : sides[1]]
    low, high = land.amin((2, 3), keepdim=True), land.amax((2, 3), keepdim=True)
    return (land - low) / (high - low).clamp_min(1e-12)


def _bumps(like: Tensor, draws: Draws, height: float) -> Tensor:
    return height * draws.uniform(*like.shape[1:], low=-1.0, high=1.0, dtype=torch.float64)


def sampled(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The images as they are at these places (N, H, W), seen from the centre; bilinear, black outside."""
    height, width = x.shape[-2:]
    grid = torch.stack((2 * column / width, 2 * row / height), -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
