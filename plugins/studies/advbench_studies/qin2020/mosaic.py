"""Pictures put together from small ones: rows of images, framed or not, and a matrix as boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

RED, GREEN, GREY = (0.85, 0.1, 0.1), (0.1, 0.65, 0.2), (0.75, 0.75, 0.75)
WIDE = 2
"""Pixels of a frame."""


def framed(image: Tensor, colour: tuple[float, float, float] = GREY) -> Tensor:
    """An image (1 or 3, height, width) in colour, inside a frame."""
    pixels = image.detach().cpu().float().clamp(0, 1)
    pixels = pixels.expand(3, -1, -1) if pixels.shape[0] == 1 else pixels
    whole = torch.tensor(colour).view(3, 1, 1).expand(3, pixels.shape[1] + 2 * WIDE, pixels.shape[2] + 2 * WIDE).clone()
    whole[:, WIDE:-WIDE, WIDE:-WIDE] = pixels
    return whole


def rows_of(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Images of one size beneath each other; a row that is shorter is filled with white."""
    longest = max(len(row) for row in rows)
    blank = torch.ones_like(next(image for row in rows for image in row))
    filled = [[*row, *[blank] * (longest - len(row))] for row in rows]
    return torch.cat([torch.cat(row, 2) for row in filled], 1)


def boxes(matrix: np.ndarray, side: int = 14) -> Tensor:
    """A matrix of shares as boxes whose area is the share, on white; what is not a number is a small cross of grey."""
    high, wide = matrix.shape
    picture = torch.ones(1, high * side, wide * side)
    for row in range(high):
        for column in range(wide):
            top, left = row * side, column * side
            if not np.isfinite(matrix[row, column]):
                picture[:, top + side // 2, left + side // 2] = 0.6
                continue
            length = round((side - 2) * float(np.sqrt(max(0.0, matrix[row, column]))))
            start = (side - length) // 2
            picture[:, top + start : top + start + length, left + start : left + start + length] = 0.15
    return picture
