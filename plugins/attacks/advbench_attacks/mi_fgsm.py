"""Momentum iterative FGSM: gradients of unit l1 length, gathered over the steps (Dong et al., 2018, arXiv:1710.06081).

The defaults are the paper's: ten steps of a tenth of the radius, μ = 1. In other balls than l∞ the unit step of their
own geometry along the gathered gradient takes the place of its sign (in l2 that is the paper's equation 8).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Geometry, Problem, at_least
from advbench_attacks.common.climb import Rows, climb, steepest


@dataclass(frozen=True)
class MIFGSM(Attack):
    name = "mi-fgsm"
    reference = "https://arxiv.org/abs/1710.06081"
    geometry = Geometry.ASCENT
    needs = Access.GRADIENTS

    steps: int = at_least(1, default=10)
    travel: float = at_least(0, default=1.0)  # total path length, in radii of the ball
    step: float = at_least(0, default=0.0)  # length of one step in the ball's units instead; 0: by `travel`
    decay: float = at_least(0, default=1.0)  # μ: what is kept of the gathered gradient at every step

    def passes(self, classes: int) -> int:
        return self.steps

    def perturb(self, problem: Problem) -> Tensor:
        α, μ = self.step or self.travel * problem.eps / self.steps, self.decay

        def move(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            p, gathered = rows
            gathered = μ * gathered + of_unit_length(problem.gradient(p, of=of))
            return problem.advance(p, steepest(problem, gathered, of), α, of), gathered

        return climb(problem, problem.start(), self.steps, move, memories=1)


def of_unit_length(gradient: Tensor) -> Tensor:
    """Every row divided by its l1 length; zero where it is zero or no number."""
    finite = gradient.nan_to_num(0, 0, 0)
    length = finite.flatten(1).abs().sum(1).view(-1, *[1] * (finite.ndim - 1))
    return finite / torch.where(length > 0, length, 1)
