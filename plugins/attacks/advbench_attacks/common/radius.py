"""Lengths and directions of rows, and balls of a radius per row, cut by the box."""

import torch
from torch import Tensor


def length(rows: Tensor, norm: str) -> Tensor:
    """(R, D) to (R, 1); `norm` is that of a threat's name."""
    if norm == "linf":
        return rows.abs().amax(1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return lengths


def dual(rows: Tensor, norm: str) -> Tensor:
    """(…, D) to (…): how fast a linear function with this gradient grows along the best direction."""
    lengths: Tensor = torch.linalg.vector_norm(rows, ord=1 if norm == "linf" else 2, dim=-1)
    return lengths


def unit(rows: Tensor) -> Tensor:
    """Rows of l2 length 1; zero where they are zero, or no number."""
    rows = rows.nan_to_num(0, 0, 0)
    # by the largest entry first: a square of 1e-30 would be 0, of 1e30 infinite
    peak = rows.abs().amax(1, keepdim=True)
    rows = rows / torch.where(peak > 0, peak, 1)
    return rows / length(rows, "l2").clamp_min(1)


def inside(rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The rows clamped to the box between `low` and `high`."""
    return torch.clamp(rows, low, high)


def stretched(p: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The part of p in the box, stretched or shrunk to l2 length `radius`, cut to the box again."""
    p = inside(p, low, high)
    return inside(p * (radius / length(p, "l2").clamp_min(torch.finfo(p.dtype).tiny)), low, high)
