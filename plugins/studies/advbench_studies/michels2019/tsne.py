"""t-SNE (van der Maaten and Hinton, 2008, JMLR 9), exact: every pair of points is looked at.

The paper that is reproduced gives neither perplexity nor steps. What the authors of t-SNE say is kept: a bandwidth of
each point found by bisection until its neighbours have the perplexity that is asked, joint probabilities made
symmetric, Student's t with one degree of freedom in the plane, gradient descent with momentum and a gain of each
coordinate, and in the beginning probabilities that are several times too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-5
"""How far the logarithm of a point's perplexity may be from the one that is asked."""
BISECTIONS = 200
LEAST = 1e-12
"""Probabilities are at least this, so that their logarithm is finite."""
EXAGGERATION = 4.0
"""By this probabilities are too large in the first steps."""
EARLY = 100
"""Steps with exaggerated probabilities."""
MOMENTUM = 0.5, 0.8
"""In the first `SLOW` steps, and afterwards."""
SLOW = 250


@dataclass(frozen=True)
class Embedding:
    """Points in the plane, and how much of the neighbourhoods they lose."""

    points: Tensor
    divergence: float
    """The Kullback-Leibler divergence of the plane's neighbourhoods from those of the space, in nats."""


def embed(
    vectors: Tensor,
    perplexity: float,
    start: Tensor,
    *,
    steps: int = 1000,
    rate: float = 10.0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Embedding:
    """Points (N, 2) for vectors (N, D), from a start (N, 2) of small numbers."""
    joint = joint_probabilities(squared_distances(vectors.double()), perplexity)
    y = start.double().clone()
    moved, gains = torch.zeros_like(y), torch.ones_like(y)
    for step in range(steps):
        slope = gradient(joint * EXAGGERATION if step < EARLY else joint, y)
        gains = torch.where((slope > 0) == (moved > 0), 0.8 * gains, gains + 0.2).clamp_min(0.01)
        moved = MOMENTUM[step >= SLOW] * moved - rate * gains * slope
        y = y + moved
        y = y - y.mean(0)
        if step % 50 == 0:
            progress(step / steps)
    return Embedding(y, divergence(joint, y))


def squared_distances(vectors: Tensor) -> Tensor:
    return (vectors.unsqueeze(1) - vectors.unsqueeze(0)).square().sum(2)


def joint_probabilities(distances: Tensor, perplexity: float) -> Tensor:
    """How near each pair is, symmetric and summing to one, from squared distances."""
    near = conditional_probabilities(distances, perplexity)
    return ((near + near.T) / (2 * len(near))).clamp_min(LEAST).fill_diagonal_(0)


def conditional_probabilities(distances: Tensor, perplexity: float) -> Tensor:
    """Row i: how probable each other point is as the neighbour of i, whose bandwidth gives it this perplexity."""
    count = len(distances)
    if not 1 <= perplexity < count - 1:
        raise ValueError(f"{count} points have no perplexity of {perplexity:g}: it lies from 1 to below {count - 1}")
    wanted = math.log(perplexity)
    own = torch.eye(count, dtype=torch.bool)
    # a bandwidth has no unit of its own: distances are measured in those of each point's nearest neighbour
    others = distances.double().masked_fill(own, torch.inf)
    nearest = others.amin(1, keepdim=True)
    unit = (others.masked_fill(own, 0).sum(1, keepdim=True) / (count - 1)).clamp_min(torch.finfo(torch.double).tiny)
    relative = (others - nearest) / unit
    low, high = torch.full((count, 1), -40.0, dtype=torch.double), torch.full((count, 1), 60.0, dtype=torch.double)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2  # the logarithm of the precision
        off = entropy(softly(relative, middle)) - wanted
        if bool((off.abs() < TOLERANCE).all()):
            break
        low, high = torch.where(off > 0, middle, low), torch.where(off > 0, high, middle)
    return softly(relative, middle)


def softly(relative: Tensor, precision: Tensor) -> Tensor:
    """Gaussian weights of each row, summing to one; the precision is given by its logarithm."""
    return (-relative * precision.exp()).softmax(1)


def entropy(rows: Tensor) -> Tensor:
    """Of the distribution in each row, in nats; its exponential is the perplexity."""
    found: Tensor = -torch.special.xlogy(rows, rows).sum(1, keepdim=True)
    return found


def near_in_plane(y: Tensor) -> tuple[Tensor, Tensor]:
    """Student's t of every pair, and the same made to sum to one."""
    weights = (1 / (1 + squared_distances(y))).fill_diagonal_(0)
    return weights, (weights / weights.sum()).clamp_min(LEAST)


def divergence(joint: Tensor, y: Tensor) -> float:
    """What is lost: sum of p log(p / q) over the pairs."""
    _, q = near_in_plane(y)
    return float((torch.special.xlogy(joint, joint) - joint * q.log()).sum())


def gradient(joint: Tensor, y: Tensor) -> Tensor:
    """Of the divergence by the points in the plane."""
    weights, q = near_in_plane(y)
    pull = (joint - q.masked_fill(torch.eye(len(y), dtype=torch.bool), 0)) * weights
    return 4 * (pull.sum(1, keepdim=True) * y - pull @ y)
