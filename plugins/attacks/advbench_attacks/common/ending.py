"""What minimal-norm attacks end with: back towards the clean image, and once more from there onto the boundary."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from advbench import MARGIN, Problem
from advbench_attacks.common.bisection import shrink
from advbench_attacks.common.corner import along, corner
from advbench_attacks.common.hyperplane import ENOUGH, blockwise, distance, nearest

RIVALS = 5
"""The likeliest other classes whose planes are looked at."""
LANDING = 4
"""Forward passes of the last step, after those on the segment to the clean image."""


def ended(problem: Problem, rounds: int) -> Tensor:
    """The smallest success, after `rounds` passes on the segment to the clean image and a last step from there.

    Attacks follow one class at a time. Where another's boundary is nearer inside the box, or the nearest point lies
    where several boundaries meet, they end beside it; the last step looks at the planes of several classes together.
    """
    p = shrink(problem, problem.best, rounds)
    of = problem.active
    if len(of):
        p = p[of]
        landed = onto_boundary(problem, p, of)
        # on a curved boundary that may be too far
        problem.logits(torch.cat([landed, (p + landed) / 2]), of.repeat(2))
    return problem.best


def onto_boundary(problem: Problem, p: Tensor, of: Tensor) -> Tensor:
    """The smallest perturbations beyond the boundary as it is linearised at p, inside the box."""
    goal, x = problem.goal[of], problem.images[of].flatten(1)
    labels = goal.labels.unsqueeze(1)
    others = problem.logits(p, of).nan_to_num(0, 0, 0).scatter(1, labels, -torch.inf)
    classes = torch.cat([labels, others.topk(min(RIVALS, problem.classes - 1), 1).indices], 1)
    probe = problem.jacobian(p, classes, of)
    slopes, logits = (rows.nan_to_num(0, 0, 0) for rows in (probe.gradient.flatten(2), probe.logits.gather(1, classes)))
    sign = 1 if goal.targeted else -1
    normals, margins = sign * (slopes[:, :1] - slopes[:, 1:]), sign * (logits[:, :1] - logits[:, 1:])
    gains = problem.margin + MARGIN - margins + along(normals, p.flatten(1))
    move = partial(past_all if goal.targeted else past_nearest, norm=problem.threat.norm)
    return blockwise(move, normals, gains, -x, 1 - x).view_as(p)


def past_nearest(normals: Tensor, gains: Tensor, low: Tensor, high: Tensor, norm: str) -> Tensor:
    """Onto that of several planes which is nearest inside the box."""
    far = distance(normals, gains, low.unsqueeze(1), high.unsqueeze(1), norm)
    rows, first = torch.arange(len(far), device=far.device), far.argmin(1)
    return nearest(normals[rows, first], gains[rows, first], low, high, norm)


def past_all(normals: Tensor, gains: Tensor, low: Tensor, high: Tensor, norm: str) -> Tensor:
    """Beyond all planes; mostly, that is where the nearest point of the first is."""
    move = nearest(normals[:, 0], gains[:, 0], low, high, norm)
    gained = along(normals, move)
    reachable = gained[:, 0].abs() >= ENOUGH * gains[:, 0].abs()
    missed = (reachable & (gained < gains - MARGIN / 2).any(1)).nonzero().squeeze(1)
    if len(missed):
        move[missed] = corner(normals[missed], gains[missed], low[missed], high[missed], norm)
    return move
