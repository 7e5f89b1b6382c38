"""How alike vectors of two groups are, as numbers: cosines within and between, and who is whose nearest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from advbench import Finding

Z95 = 1.959963984540054
MOST = 200_000
"""Ways to divide the vectors into two groups that are gone through."""


@dataclass(frozen=True)
class Alikeness:
    """Mean cosines over pairs."""

    within: tuple[float, ...]
    """Of each group with itself."""
    between: float
    """Of the vectors of one group with those of another."""

    @property
    def difference(self) -> float:
        """By how much vectors are more alike to their own group."""
        return math.fsum(self.within) / len(self.within) - self.between


def cosines(vectors: Tensor) -> Tensor:
    """Of every pair of rows."""
    unit = torch.nn.functional.normalize(vectors.double().flatten(1), dim=1)
    return unit @ unit.T


def alikeness(pairs: Tensor, groups: Sequence[Sequence[int]]) -> Alikeness:
    """Means of cosines within groups of rows and between them."""
    within = tuple(_mean(pairs, [*combinations(group, 2)]) for group in groups)
    across = [(i, j) for one, other in combinations(groups, 2) for i in one for j in other]
    return Alikeness(within, _mean(pairs, across))


def left_out(name: str, values: Sequence[float], value: float, unit: str = "") -> Finding:
    """A number with the interval of the jackknife, from what it is when each part in turn is left out."""
    n = len(values)
    if n < 2 or not all(map(math.isfinite, values)):
        return Finding(name, value, n=n, unit=unit)
    middle = math.fsum(values) / n
    wide = Z95 * math.sqrt((n - 1) / n * math.fsum((one - middle) ** 2 for one in values))
    return Finding(name, value, value - wide, value + wide, n, unit)


def as_far_apart(pairs: Tensor, first: Sequence[int], second: Sequence[int]) -> Finding:
    """The share of all divisions into groups of these sizes whose difference is as large as theirs: exact.

    Where a group's name means nothing, a small share is that probable.
    """
    rows = [*first, *second]
    name = "divisions as far apart"
    if math.comb(len(rows), len(first)) > MOST or min(len(first), len(second)) < 2:
        return Finding(name, None, n=0, unit="percent")
    own = pairs[rows][:, rows]
    chosen = torch.tensor([*combinations(range(len(rows)), len(first))])
    inside = torch.zeros(len(chosen), len(rows), dtype=own.dtype).scatter_(1, chosen, 1.0)
    outside = 1 - inside
    diagonal = own.diagonal()

    def within(members: Tensor) -> Tensor:
        count = members.sum(1)
        return (((members @ own) * members).sum(1) - members @ diagonal) / (count * (count - 1))

    across = ((inside @ own) * outside).sum(1) / (len(first) * len(second))
    differences = (within(inside) + within(outside)) / 2 - across
    as_large = int((differences >= differences[0] - 1e-12).sum())  # the first division is the real one
    return Finding(name, 100 * as_large / len(chosen), n=len(chosen), unit="percent")


def nearest_alike(distances: Tensor, groups: Sequence[int]) -> int:
    """How many rows have a row of their own group as the nearest other."""
    others = distances.double().clone().fill_diagonal_(torch.inf)
    nearest = others.argmin(1).tolist()
    return sum(groups[i] == groups[j] for i, j in enumerate(nearest))


def _mean(pairs: Tensor, places: Sequence[tuple[int, int]]) -> float:
    return math.fsum(float(pairs[i, j]) for i, j in places) / len(places) if places else math.nan
