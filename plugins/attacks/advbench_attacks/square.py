"""Square attack: random search over squares of pixels (Andriushchenko et al., 2020, arXiv:1912.00049).

Positions and signs are drawn for every example by itself. Two things that the paper leaves to its code: in l-infinity a
proposal that would change no pixel (a square of the colours that are there already) takes the opposite colours instead
of spending a query on nothing, and the margin is the loss for both goals. `proposals` squares are tried on the same
image in one pass and the best is taken; 1 is the paper's algorithm. Few of them succeed, so that little is lost, and
batches are full when few examples are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, at_least, between
from advbench_attacks.common.squares import L2Squares, LinfSquares, Squares

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After how many of 10,000 queries the squares' share of the image is halved; of other schedules, in proportion."""
AHEAD = 32
"""For how many steps numbers are drawn at once: many small draws would cost more than the squares do."""


@dataclass(frozen=True)
class Square(Attack):
    name = "square"
    reference = "https://arxiv.org/abs/1912.00049"
    threats = frozenset({"linf", "l2"})
    needs = Access.LOGITS
    beyond_gradients = True
    trial = {"queries": 100}

    queries: int = at_least(1, default=5000)
    p_init: float = between(0, 1, default=0.8)  # the first squares' share of the image
    proposals: int = at_least(1, default=4)  # squares that are tried on the same image in one pass
    schedule: int = at_least(0, default=0)  # queries over which squares shrink to a pixel or so; 0: those of `queries`

    def passes(self, classes: int) -> int:
        return self.queries

    def perturb(self, problem: Problem) -> Tensor:
        ball = L2Squares if problem.threat.norm == "l2" else LinfSquares
        search = Search(problem, ball.of(problem.images, problem.eps), self.proposals)
        for asked in range(1, self.queries - self.proposals + 1, self.proposals):
            if problem.done:
                break
            search.forget_the_done()
            search.step(search.squares.side(self.share(asked)))
        return search.result()

    def share(self, asked: int) -> float:
        """The share of the image's pixels that a square covers at this query."""
        whole = self.schedule or self.queries
        return self.p_init * math.pow(0.5, sum(asked * 10_000 > mark * whole for mark in HALVINGS))


class Search:
    """The image of every example that is not done, a row for each of its proposals, and the best margin so far."""

    def __init__(self, problem: Problem, squares: Squares, proposals: int) -> None:
        self._problem, self._proposals = problem, proposals
        self._draws, self._numbers, self._place = problem.draws, problem.images.new_empty(0), 0
        self._all = squares.start(self._draws.uniform(squares.start_numbers))
        margin = problem.goal.margin(problem.logits(self._all.view_as(problem.images)))
        self._margin = margin.nan_to_num(-torch.inf)
        self._who = torch.arange(len(self._all), device=self._all.device)
        rows = self._who.repeat_interleave(proposals)
        self._of, self._goal, self._p, self.squares = rows, problem.goal[rows], self._all[rows], squares[rows]

    def forget_the_done(self) -> None:
        """Keep the rows of examples that want another query; all that is computed afterwards is for them alone."""
        if len(self._problem.active) == len(self._who):
            return
        self._all[self._who] = self._p[:: self._proposals]
        kept = torch.searchsorted(self._who, self._problem.active)
        self._who, self._margin, self._draws = self._who[kept], self._margin[kept], self._draws.subset(kept)
        if len(self._numbers):
            self._numbers = self._numbers[kept]
        first = (kept * self._proposals).view(-1, 1)
        rows = (first + torch.arange(self._proposals, device=kept.device)).flatten()
        self._of, self._goal, self._p, self.squares = (
            self._of[rows],
            self._goal[rows],
            self._p[rows],
            self.squares[rows],
        )

    def step(self, side: int) -> None:
        """Paint every proposal, and keep the best of an example if it is better than what there is."""
        patches = self.squares.propose(self._p, side, self._next_numbers())
        before = [self._p.gather(2, patch.where) for patch in patches]
        for patch in patches:
            self._p.scatter_(2, patch.where, patch.colours)
        logits = self._problem.logits(self._p.view(-1, *self._problem.images.shape[1:]), self._of)
        margin, place = self._goal.margin(logits).nan_to_num(-torch.inf).view(-1, self._proposals).max(1)
        better = margin > self._margin
        self._margin = torch.where(better, margin, self._margin)
        # every proposal is painted over again, then the best of an example goes onto all its rows
        for patch, colours in zip(patches, before, strict=True):
            self._p.scatter_(2, patch.where, colours)
        best = place + torch.arange(0, len(self._p), self._proposals, device=place.device)
        best, better = (values.repeat_interleave(self._proposals) for values in (best, better))
        for patch in patches:
            where = patch.where[best]
            colours = torch.where(better.view(-1, 1, 1), patch.colours[best], self._p.gather(2, where))
            self._p.scatter_(2, where, colours)

    def _next_numbers(self) -> Tensor:
        """A row of numbers for every proposal."""
        if self._place == 0:
            self._numbers = self._draws.uniform(AHEAD, self._proposals, self.squares.numbers)
        numbers = self._numbers[:, self._place].flatten(0, 1)
        self._place = (self._place + 1) % AHEAD
        return numbers

    def result(self) -> Tensor:
        self._all[self._who] = self._p[:: self._proposals]
        return self._problem.project(self._all.view_as(self._problem.images))


__all__ = ["Square"]
