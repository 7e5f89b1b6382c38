"""Boundary attack: a random walk along the decision border (Brendel et al., 2018, arXiv:1712.04248).

The two steps are adapted as by a trust region (Michels et al., 2019, arXiv:1906.03612, section 3.2): γ, the length of a
proposal relative to the distance, and ν, the part of the distance that is given up. How is left open. Here several
proposals are asked in one pass, and those that are still wrongly classified are all taken, as if one after the other;
then some reductions around ν, also in one pass, of which the largest that succeeds is kept. γ grows when more than
the best share of proposals stayed wrong, ν when its largest reduction succeeded, and both shrink otherwise. The
papers start at the first noise that is wrong; here the start is the nearest of many noisy, plain and turned images,
towards a class the nearest held-out image of it (`far_side`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Draws, Problem, at_least, between
from advbench_attacks.common.border import directions, to_border
from advbench_attacks.common.far_side import far_side, queries

RUNGS = (0.0, 0.5, 1.0, 2.0)
"""The reductions that are tried, in units of ν."""
BISECTIONS = 10
"""Of the start, beside the coarse ones."""
WANTED = 0.27
"""The share of proposals that stay across a straight border when γ is such that the distance shrinks fastest."""


@dataclass(frozen=True)
class Boundary(Attack):
    name = "boundary"
    reference = "https://arxiv.org/abs/1712.04248"
    threats = frozenset({"l2"})
    needs = Access.LABELS
    beyond_gradients = True
    minimizes = True
    uses_bank = True
    trial = {"queries": 400}

    queries: int = at_least(200, default=25_000)  # the start alone takes up to 170
    proposals: int = at_least(1, default=12)  # asked in one pass
    gamma: float = between(1e-6, 1, default=0.1)  # first length of a proposal, in distances
    nu: float = between(1e-6, 1, default=0.01)  # first reduction of the distance, in distances

    def passes(self, classes: int) -> int:
        return self.queries

    def perturb(self, problem: Problem) -> Tensor:
        who = problem.active
        draws = problem.draws.subset(who)
        start = far_side(problem, who, draws, bank=problem.goal.targeted)
        rows = start.found.nonzero().squeeze(1)
        who, draws = who[rows], draws.subset(rows)
        walk = Walk(problem, who, draws, to_border(problem, start.p[rows], who, BISECTIONS), self)
        # the bank is asked only when aiming, and the start then costs less than one from noise may
        for _ in range((self.queries - queries(bank=False) - BISECTIONS) // (self.proposals + len(RUNGS))):
            if problem.done or len(rows) == 0:
                break
            walk.step()
        return problem.best


class Walk:
    """The examples that have a start, each at a perturbation just across the border, with steps of its own."""

    def __init__(self, problem: Problem, who: Tensor, draws: Draws, p: Tensor, attack: Boundary) -> None:
        self._problem, self._who, self._draws, self._proposals = problem, who, draws, attack.proposals
        x = problem.images[who].flatten(1)
        self._low, self._high = -x, 1 - x
        self._p = p.flatten(1)
        self._distance: Tensor = torch.linalg.vector_norm(self._p, dim=1)
        self._gamma = torch.full_like(self._distance, attack.gamma)
        self._nu = torch.full_like(self._distance, attack.nu)
        self._rungs = torch.tensor(RUNGS, device=p.device, dtype=p.dtype)
        self._each = who.repeat_interleave(attack.proposals)
        self._every = who.repeat_interleave(len(RUNGS))

    def step(self) -> None:
        """Around the image at the same distance, then towards it."""
        around = self._around()
        stay = self._reached(self._cut(self._outwards(self._p.unsqueeze(1) + around)), self._each)
        self._descend(self._outwards(self._p + (around * stay.unsqueeze(2)).sum(1)))
        easy = stay.sum(1) > WANTED * self._proposals
        # grows and shrinks by so much that at the wanted share it stays where it is
        up, down = 1 + 0.3 * (1 - WANTED), 1 - 0.3 * WANTED
        self._gamma = torch.where(easy, self._gamma * up, self._gamma * down).clamp(1e-6, 1)

    def _around(self) -> Tensor:
        """Proposals of length γ times the distance, at right angles to p."""
        p = self._p.unsqueeze(1)
        drawn = directions(self._draws, self._proposals, p.shape[2])
        drawn -= (drawn * p).sum(2, keepdim=True) / self._distance.square().clamp_min(1e-30).view(-1, 1, 1) * p
        return drawn.mul_((self._gamma * self._distance).view(-1, 1, 1))

    def _outwards(self, p: Tensor) -> Tensor:
        """The perturbation moved outwards or inwards until it is as far from the image as the present one."""
        distance = self._distance.view(-1, *[1] * (p.ndim - 1))
        length: Tensor = torch.linalg.vector_norm(p, dim=-1, keepdim=True)
        return p * (distance / length.clamp_min(1e-30))

    def _descend(self, p: Tensor) -> None:
        """The largest of the reductions that succeeds, and ν after it."""
        lower = self._cut(p.unsqueeze(1) * (1 - self._nu.view(-1, 1, 1) * self._rungs.view(1, -1, 1)).clamp_min(0))
        reached = self._reached(lower, self._every)
        length = torch.where(reached, lower.norm(dim=2), torch.inf)
        shortest, place = length.min(1)
        taken = shortest <= self._distance
        rows = torch.arange(len(p), device=p.device)
        self._p = torch.where(taken.view(-1, 1), lower[rows, place], self._p)
        self._distance = torch.where(taken, shortest, self._distance)
        furthest, reduced = reached[:, -1], reached[:, 1:].any(1)
        factor = torch.where(furthest, 2.0, torch.where(reduced, 1.0, 0.5))
        self._nu = (self._nu * factor).clamp(1e-7, 0.5)

    def _cut(self, p: Tensor) -> Tensor:
        return p.clamp(self._low.unsqueeze(1), self._high.unsqueeze(1))

    def _reached(self, p: Tensor, of: Tensor) -> Tensor:
        flat = p.view(-1, *self._problem.images.shape[1:])
        return self._problem.reached(flat, of).view(p.shape[:2])
