"""Every rotation and shift of a grid (Engstrom et al., 2019, arXiv:1712.02779).

The paper's grid has 31 angles and 5 shifts along each side, the limits of the ball among them. It keeps the transform
of the highest loss; here a label is enough, and what is kept is the problem's to decide: the first success by default,
the one of the highest loss when nothing stops early. The far ends of the grid come first, since most images that can be
fooled are fooled there; with `stop: first` they leave, and the order changes the cost but no verdict.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, at_least

MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Grid(Attack):
    name = "grid"
    reference = "https://arxiv.org/abs/1712.02779"
    threats = frozenset({"rotate-shift"})
    needs = Access.LABELS
    beyond_gradients = True
    trial = {"angles": 5, "shifts": 3}

    angles: int = at_least(1, default=31)  # from one limit to the other; 1 is no rotation
    shifts: int = at_least(1, default=5)  # along each side

    def passes(self, classes: int) -> int:
        return self.angles * self.shifts**2

    def perturb(self, problem: Problem) -> Tensor:
        grid = self.points(problem.start())
        first = 0
        while first < len(grid) and not problem.done:
            # a few at first, while many examples leave; how many must not depend on who is left
            points = grid[first : first + min(1 + first // 4, MOST_AT_ONCE)]
            left = problem.active
            candidates = problem.eps * points.repeat_interleave(len(left), 0)
            problem.labels(candidates, of=left.repeat(len(points)))
            first += len(points)
        return problem.best

    def points(self, like: Tensor) -> Tensor:
        """(K, 3) in fractions of the radius, the farthest from the centre first."""
        turns, shifts = (_ends_and_between(count, like) for count in (self.angles, self.shifts))
        points = torch.cartesian_prod(turns, shifts, shifts)
        farthest = points.abs().sum(1).argsort(descending=True, stable=True)
        return points[farthest]


def _ends_and_between(count: int, like: Tensor) -> Tensor:
    """From -1 to 1, with 0 exactly in the middle; 0 alone when there is but one."""
    last = max(count - 1, 1)
    return (2 * torch.arange(count, device=like.device) - (count - 1)).to(like.dtype) / last
