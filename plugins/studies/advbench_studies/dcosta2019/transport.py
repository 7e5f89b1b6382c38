"""The Wasserstein distance between two images, between a lower and an upper bound: Sinkhorn's scaling, made exact.

Mass is normalised to 1, and moving a unit by a distance costs distance²; no root is taken, as in the ball `wasserstein`
with power 2. The smoothed plan is rounded to one that fits both images (Altschuler et al., 2017, arXiv:1705.09634),
which costs at least the distance. Its potentials, made feasible by a c-transform, are at most the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHARPEST = 0.1
ROUNDS, MOST = 100, 4
"""Rounds between two looks at the bounds, and how many looks at most."""
NEAR = 0.01
"""Bounds this near to each other are near enough: as a share, and beside that 0.005."""


@dataclass(frozen=True)
class Distance:
    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


def distance(one: Tensor, other: Tensor) -> Distance:
    """Between two images (height, width) that are not black."""
    (a, here), (b, there) = _masses(one), _masses(other)
    cost = torch.cdist(here, there).square()
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    smoothing = max(float(cost.max()) / 4, SHARPEST)
    while smoothing > SHARPEST:
        f, g = _scaled(f, g, cost, a, b, smoothing, ROUNDS // 2)
        smoothing = max(smoothing / 2, SHARPEST)
    found = Distance(0.0, float("inf"))
    for _ in range(MOST):
        f, g = _scaled(f, g, cost, a, b, smoothing, ROUNDS)
        plan = ((f.unsqueeze(1) + g - cost) / smoothing).exp() * a.unsqueeze(1) * b
        high = min(found.high, float((rounded(plan, a, b) * cost).sum()))
        found = Distance(min(max(found.low, _potential(f, cost, a, b)), high), high)
        if found.high - found.low < NEAR * found.high + NEAR / 2:
            break
    return found


def _scaled(
    f: Tensor, g: Tensor, cost: Tensor, a: Tensor, b: Tensor, smoothing: float, rounds: int
) -> tuple[Tensor, Tensor]:
    for _ in range(rounds):
        f = -smoothing * torch.logsumexp((g - cost) / smoothing + b.log(), 1)
        g = -smoothing * torch.logsumexp((f.unsqueeze(1) - cost) / smoothing + a.log().unsqueeze(1), 0)
    return f, g


def _potential(f: Tensor, cost: Tensor, a: Tensor, b: Tensor) -> float:
    """A bound from below: no pair pays less than the potentials of its ends."""
    g = (cost - f.unsqueeze(1)).amin(0)
    f = (cost - g).amin(1)
    return float((a * f).sum() + (b * g).sum())


def rounded(plan: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A plan near this one whose rows hold a and whose columns hold b."""
    plan = plan * (a / plan.sum(1)).clamp_max(1).unsqueeze(1)
    plan = plan * (b / plan.sum(0)).clamp_max(1)
    rows, columns = a - plan.sum(1), b - plan.sum(0)
    left = rows.sum()
    return plan if left <= 1e-15 else plan + torch.outer(rows, columns) / left


def _masses(image: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels that are not black: their shares of the mass, and where they are."""
    image = image.double()
    places = image.nonzero()
    mass = image[places[:, 0], places[:, 1]]
    return mass / mass.sum(), places.double()
