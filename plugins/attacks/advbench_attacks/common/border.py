"""What attacks on labels share: the way back towards the image, bisected, and random directions."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench import Draws, Problem

SPREAD = (256**2 - 1) ** 0.5 / 12**0.5
"""The standard deviation of a number that is uniform over 256 neighbouring ones."""


def nearer(problem: Problem, p: Tensor, share: Tensor) -> Tensor:
    """The perturbations on the way from the image to p, at a share of p's size: scaled in l2, cut in l-infinity."""
    share = share.view(-1, *[1] * (p.ndim - 1))
    if problem.threat.norm == "linf":
        bound = p.flatten(1).abs().amax(1).view_as(share) * share
        return p.clamp(-bound, bound)
    return p * share


def to_border(problem: Problem, p: Tensor, of: Tensor, rounds: int) -> Tensor:
    """The nearest success that bisection finds between the images and p, successes all."""
    low, high = p.new_zeros(len(p)), p.new_ones(len(p))
    for _ in range(rounds):
        middle = (low + high) / 2
        reached = problem.reached(nearer(problem, p, middle), of)
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return nearer(problem, p, high)


def directions(draws: Draws, count: int, pixels: int) -> Tensor:
    """(N, count, pixels) of random directions, about as long as 1.

    Uniform numbers of one byte: in hundreds of pixels their direction is as good as that of normal ones, at a fifth
    of the price, and drawing is what an attack on labels spends most of its own time on.
    """
    # three bytes an integer, since the draw's upper end has to fit as well
    wide = draws.integers(1 << 24, -(-count * pixels // 3))
    narrow = wide.int().view(torch.int8).view(len(wide), -1, 4)[..., :3].reshape(len(wide), -1)
    numbers = narrow[:, : count * pixels].to(torch.float32).view(-1, count, pixels)
    return numbers.add_(0.5).mul_(1 / (SPREAD * pixels**0.5))
