"""HopSkipJump: gradient directions from labels alone (Chen et al., 2020, arXiv:1904.02144).

Every part of a step is one batch of queries for all examples at once. Open in the paper: the random directions are
uniform in every pixel, with no normalisation (`border.directions`); the start is the nearest of many, held-out images
among them (`far_side`); a step that ends further away than it began is not taken. Bisection stops at the paper's
threshold, or at what float32 can tell apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Draws, Problem, at_least
from advbench_attacks.common.border import directions, to_border
from advbench_attacks.common.far_side import far_side, queries

TOGETHER = 64
"""Directions of an example in one pass, fewer where images are large."""
FINEST = 22
"""Bisections that float32 has digits for."""
HALVINGS = 15
"""Of a step that ends on the wrong side."""


@dataclass(frozen=True)
class HopSkipJump(Attack):
    name = "hopskipjump"
    reference = "https://arxiv.org/abs/1904.02144"
    threats = frozenset({"linf", "l2"})
    needs = Access.LABELS
    beyond_gradients = True
    minimizes = True
    uses_bank = True
    trial = {"steps": 3, "directions": 20}

    steps: int = at_least(1, default=40)
    directions: int = at_least(1, default=100)  # for the first gradient; those of step t are √t times as many
    most_directions: int = at_least(1, default=10_000)

    def passes(self, classes: int) -> int:
        bisections = 15  # of an image of MNIST's size; a step is halved about twice
        return queries(bank=True) // 2 + sum(self.count(step) + bisections + 3 for step in range(1, self.steps + 1))

    def count(self, step: int) -> int:
        """Directions for the gradient of this step, the first being 1."""
        return min(int(self.directions * step**0.5), self.most_directions)

    def perturb(self, problem: Problem) -> Tensor:
        who = problem.active
        draws = problem.draws.subset(who)
        start = far_side(problem, who, draws, bank=True)
        rows = start.found.nonzero().squeeze(1)
        hop = Hop(problem, who[rows], draws.subset(rows), start.p[rows])
        for step in range(1, self.steps + 1):
            if problem.done or len(rows) == 0:
                break
            hop.step(step, self.count(step))
        return problem.best


class Hop:
    """The examples that have a start, each at a perturbation just across the border."""

    def __init__(self, problem: Problem, who: Tensor, draws: Draws, p: Tensor) -> None:
        self._problem, self._who, self._draws = problem, who, draws
        x = problem.images[who]
        self._low, self._high = -x, 1 - x
        self._x = x
        self._pixels = x[0].numel() if len(x) else 1
        self._flat = problem.threat.norm == "linf"
        finest = 2 * math.log2(self._pixels) if self._flat else 1.5 * math.log2(self._pixels)
        self._bisections = min(max(math.ceil(finest), 10), FINEST)
        self._p = to_border(problem, p, who, self._bisections)

    def step(self, number: int, directions: int) -> None:
        """Along the gradient as far as it goes, and back to the border."""
        distance = self._size(self._p)
        # further at first, where the border is not yet near
        reach = torch.full_like(distance, 0.1) if number == 1 else distance / self._pixels
        ascent = self._gradient(reach, directions)
        moved, rows = self._stride(ascent, distance / number**0.5)
        back = to_border(self._problem, moved[rows], self._who[rows], self._bisections)
        closer = self._size(back, rows) < distance[rows]
        self._p[rows] = torch.where(_column(closer), back, self._p[rows])

    def _gradient(self, reach: Tensor, count: int) -> Tensor:
        """The unit step along which the goal is reached more surely, from the labels of points around p."""
        p = self._p.flatten(1).unsqueeze(1)
        low, high, reach = self._low.flatten(1).unsqueeze(1), self._high.flatten(1).unsqueeze(1), reach.view(-1, 1, 1)
        votes, every, wins = torch.zeros_like(p[:, 0]), torch.zeros_like(p[:, 0]), p.new_zeros(len(p), 1)
        together = max(1, min(TOGETHER, 2**20 // self._pixels))
        for first in range(0, count, together):
            some = min(together, count - first)
            around = directions(self._draws, some, self._pixels).to(p.dtype).mul_(reach).add_(p).clamp_(low, high)
            reached = self._problem.reached(
                around.view(-1, *self._p.shape[1:]), self._who.repeat_interleave(some)
            ).view(-1, some, 1)
            around -= p  # what the box left of the directions
            every += around.sum(1)
            wins += reached.sum(1)
            votes += around.mul_(reached).sum(1)
        # the mean label is subtracted, which lowers the variance; where all agree there is nothing but the mean
        share = wins / count
        mixed = (share > 0) & (share < 1)
        ascent = torch.where(mixed, votes - share * every, every * (2 * share - 1))
        return self._problem.threat.steepest(self._x, ascent.view_as(self._p))

    def _stride(self, ascent: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """The longest step of length, length / 2, … that stays across the border, and which examples have one."""
        moved, waiting = self._p.clone(), torch.arange(len(self._p), device=self._p.device)
        stuck = torch.ones_like(waiting, dtype=torch.bool)
        for _ in range(HALVINGS):
            q = self._p[waiting] + _column(length[waiting]) * ascent[waiting]
            q = q.clamp(self._low[waiting], self._high[waiting])
            reached = self._problem.reached(q, self._who[waiting])
            arrived = waiting[reached]
            moved[arrived], stuck[arrived] = q[reached], False
            waiting = waiting[~reached]
            if len(waiting) == 0:
                break
            length = length / 2
        return moved, (~stuck).nonzero().squeeze(1)

    def _size(self, p: Tensor, rows: Tensor | None = None) -> Tensor:
        return self._problem.threat.size(self._x if rows is None else self._x[rows], p).to(p.dtype)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
