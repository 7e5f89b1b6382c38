"""JPEG's loss: cosines of 8 x 8 blocks, rounded (ITU T.81, tables K.1 and K.2)."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.draws import Draws

QUALITY = 7.0
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
COSINES = [
    [math.sqrt((1 if k == 0 else 2) / 8) * math.cos(math.pi * k * (2 * j + 1) / 16) for j in range(8)] for k in range(8)
]
INVERSE = [list(column) for column in zip(*COSINES, strict=True)]
TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
TO_RGB = [[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]]


def jpeg(x: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Quality 100 falling to 7, in equal ratios."""
    # by `exp`: a power rounds otherwise in another company
    return compress_jpeg(x, 100 * (severity * math.log(QUALITY / 100)).exp())


def compress_jpeg(x: Tensor, quality: Tensor, *, halved: bool = False) -> Tensor:
    """Images at qualities (N, 1, 1, 1) from 1 to 100, not rounded to levels again.

    `halved` keeps colour at half the size, as files usually do: means of 2 x 2, back by a triangle filter.
    """
    colour = x.shape[1] == 3
    levels = 255 * x
    levels = _transform(levels, TO_YCC, 1) if colour else levels
    tables = x.new_tensor([LUMINANCE, CHROMINANCE, CHROMINANCE] if colour else [LUMINANCE])
    if colour and halved:
        bright, differences = levels[:, :1], levels[:, 1:]
        height, width = x.shape[2:]
        even = F.pad(differences, (0, width % 2, 0, height % 2), mode="replicate")
        small = _compress(F.avg_pool2d(even, 2), tables[1:], quality, [0.0, 0.0])
        large = F.interpolate(small, scale_factor=2, mode="bilinear")[..., :height, :width]
        rounded = torch.cat([_compress(bright, tables[:1], quality, [128.0]), large], 1)
    else:
        # blue and red differences lie around 0, brightness around 128
        rounded = _compress(levels, tables, quality, [128.0, 0.0, 0.0] if colour else [128.0] * x.shape[1])
    return (_transform(rounded, TO_RGB, 1) if colour else rounded) / 255


def _compress(levels: Tensor, tables: Tensor, quality: Tensor, middles: list[float]) -> Tensor:
    count, channels, height, width = levels.shape
    tall, wide = math.ceil(height / 8) * 8, math.ceil(width / 8) * 8
    rows = torch.arange(tall, device=levels.device).clamp_max(height - 1)
    columns = torch.arange(wide, device=levels.device).clamp_max(width - 1)
    padded = levels.index_select(2, rows).index_select(3, columns)
    middle = levels.new_tensor(middles).view(1, -1, 1, 1)
    blocks = (padded - middle).view(count, channels, tall // 8, 8, wide // 8, 8)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    steps = ((tables * scale + 50) / 100).floor().clamp(1, 255).view(count, -1, 1, 8, 1, 8)
    waves = _transform(_transform(blocks, COSINES, 3), COSINES, 5)
    back = _transform(_transform((waves / steps).round() * steps, INVERSE, 3), INVERSE, 5)
    return (back.reshape(padded.shape) + middle)[..., :height, :width]


def _transform(x: Tensor, matrix: list[list[float]], dim: int) -> Tensor:
    """The matrix times the vectors along a dimension, summed in one order whatever the batch."""
    parts = x.unbind(dim)
    return torch.stack(
        [reduce(torch.add, (m * part for m, part in zip(row, parts, strict=True))) for row in matrix], dim
    )
