"""Steps uphill, one after the other, by the examples that are not done."""

from collections.abc import Callable

import torch
from torch import Tensor

from advbench import Problem

Rows = tuple[Tensor, ...]
"""Perturbations, then whatever a rule remembers: a row for each example that is not done."""
Move = Callable[[int, Tensor | None, Rows], Rows]
"""The rows after one more step: its number, whose rows they are (None: everybody's), the rows before."""


def climb(problem: Problem, p: Tensor, steps: int, move: Move, memories: int = 0) -> Tensor:
    """Where `move` leads from p; its `memories`, each the size of p, begin at zero and follow their examples."""
    p, of = p.clone(), problem.active
    rows: Rows = (p[of], *(torch.zeros_like(p[of]) for _ in range(memories)))
    for turn in range(steps):
        if problem.done:
            break
        rows = move(turn, None if len(of) == len(p) else of, rows)
        if len(problem.active) < len(of):
            p[of] = rows[0]
            kept = torch.searchsorted(of, problem.active)  # both ascend, and who is active was so before
            of, rows = problem.active, tuple(row[kept] for row in rows)
    p[of] = rows[0]
    return p


def steepest(problem: Problem, gradient: Tensor, of: Tensor | None) -> Tensor:
    """The unit step of the ball's own geometry along these gradients."""
    return problem.threat.steepest(problem.images if of is None else problem.images[of], gradient)


def alike(direction: Tensor) -> Tensor:
    """As long a step, row by row, that moves all coordinates alike; where a coordinate rests, it rests."""
    signs = direction.sign()
    wanted, had = (_length(rows) for rows in (direction, signs))
    return signs * (wanted / had.clamp_min(1))


def _length(rows: Tensor) -> Tensor:
    lengths: Tensor = rows.flatten(1).square().sum(1).sqrt()
    return lengths.view(-1, *[1] * (rows.ndim - 1))
