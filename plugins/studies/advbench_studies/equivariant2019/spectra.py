"""Principal directions of a matrix of unit rows: spectra, angles between subspaces, and how certain they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Finding

BLOCKS = 10
"""So many parts of the rows are left out in turn, to see how much a result depends on them."""
Z95 = 1.96


@dataclass(frozen=True)
class Spectrum:
    """Squared singular values of a matrix, the largest first, and its first right singular vectors as rows."""

    squares: Tensor
    vectors: Tensor

    @property
    def shares(self) -> Tensor:
        """Each squared singular value as a share of their sum."""
        return self.squares / self.squares.sum()

    def share(self, count: int) -> float:
        return float(self.shares[:count].sum())


def unit(rows: Tensor) -> Tensor:
    """(N, d) in double precision, each row of length one; a row that is zero, or no numbers, is zero."""
    tiny = torch.finfo(torch.float64).tiny
    flat = rows.flatten(1).double().nan_to_num(0, 0, 0)
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(tiny)  # the squares of the smallest would vanish
    found: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp_min(tiny)
    return found


def told(rows: Tensor) -> Tensor:
    """The rows that are not zero: an image without a direction says nothing."""
    return rows[rows.any(1)]


def spectrum(rows: Tensor, vectors: int = 10) -> Spectrum:
    """By the smaller of the two Gram matrices, so that 10,000 rows need no matrix larger than their pixels."""
    if len(rows) >= rows.shape[1]:
        return _of_gram(rows.T @ rows, vectors)
    squares, sides = torch.linalg.eigh(rows @ rows.T)
    directions = sides.flip(1)[:, :vectors].T @ rows
    tiny = torch.finfo(rows.dtype).tiny
    return Spectrum(squares.flip(0).clamp_min(0), directions / directions.norm(dim=1, keepdim=True).clamp_min(tiny))


def spectra_without(rows: Tensor, vectors: int = 10, blocks: int = BLOCKS) -> Iterator[Spectrum]:
    """The spectrum without each of so many parts of the rows, every tenth row being one part."""
    blocks = min(blocks, len(rows))
    if len(rows) < rows.shape[1] * 2:
        place = torch.arange(len(rows), device=rows.device) % blocks
        yield from (spectrum(rows[place != block], vectors) for block in range(blocks))
        return
    whole = rows.T @ rows
    for block in range(blocks):
        part = rows[block::blocks]
        yield _of_gram(whole - part.T @ part, vectors)


def _of_gram(gram: Tensor, vectors: int) -> Spectrum:
    squares, directions = torch.linalg.eigh(gram)
    return Spectrum(squares.flip(0).clamp_min(0), directions.flip(1)[:, :vectors].T.contiguous())


def held_elsewhere(rows: Tensor, count: int) -> float:
    """What the first directions of every other row hold of the rest, and the other way round, as a share.

    A matrix of few rows has large singular values by chance; chance does not repeat itself in other rows.
    """
    halves = rows[::2], rows[1::2]
    found = []
    for one, other in (halves, halves[::-1]):
        other = told(other)
        if len(told(one)) == 0 or len(other) == 0:
            return 0.0
        found.append(float((other @ spectrum(one, count).vectors.T).square().sum() / len(other)))
    return math.fsum(found) / len(found)


def principal_angles(one: Tensor, other: Tensor) -> Tensor:
    """Between the spans of two sets of orthonormal rows, in degrees, the largest first.

    Small ones are told by their sines: the cosine of a tenth of a microdegree is 1 in double precision.
    """
    across = one @ other.T
    cosines = torch.linalg.svdvals(across).clamp(0, 1)
    sines = torch.linalg.svdvals(other - across.T @ one).flip(0).clamp(0, 1)[: len(cosines)]
    angles = torch.where(cosines.square() > 0.5, sines.asin(), cosines.acos())
    return angles.rad2deg().sort(descending=True).values


def mean_dot(one: Tensor, other: Tensor) -> float:
    """The mean of the absolute dot products of all pairs."""
    return float((one @ other.T).abs().mean())


def oriented(v: Tensor, rows: Tensor) -> Tensor:
    """The vector or its opposite, so that the rows point its way on average."""
    return -v if float((rows @ v).mean()) < 0 else v


def estimate(
    name: str,
    value: float,
    others: Iterable[float],
    n: int,
    unit: str = "",
    least: float = -math.inf,
    greatest: float = math.inf,
) -> Finding:
    """A value with the jackknife's interval, from its values where each part of the rows was left out."""
    values = [float(other) for other in others]
    count = len(values)
    if count < 2 or not math.isfinite(value):
        return Finding(name, value, n=n, unit=unit)
    middle = math.fsum(values) / count
    error = math.sqrt((count - 1) / count * math.fsum((other - middle) ** 2 for other in values))
    low, high = value - Z95 * error, value + Z95 * error
    return Finding(name, value, max(least, low), min(greatest, high), n, unit)
