"""Basic iterative method: FGSM in small steps, from the image itself (Kurakin et al., 2017, arXiv:1607.02533).

The paper steps by 1 of 255 grey levels, min(eps + 4, 1.25 eps) times: at its radius of 8 that is ten steps and a path
of 1.25 radii, the defaults here. Other balls take the unit step of their own geometry in place of the sign.
"""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Geometry, Problem, at_least
from advbench_attacks.common.climb import Rows, climb


@dataclass(frozen=True)
class BIM(Attack):
    name = "bim"
    reference = "https://arxiv.org/abs/1607.02533"
    geometry = Geometry.ASCENT
    needs = Access.GRADIENTS

    steps: int = at_least(1, default=10)
    travel: float = at_least(0, default=1.25)  # total path length, in radii of the ball
    step: float = at_least(0, default=0.0)  # length of one step in the ball's units instead; 0: by `travel`

    def passes(self, classes: int) -> int:
        return self.steps

    def perturb(self, problem: Problem) -> Tensor:
        α = self.step or self.travel * problem.eps / self.steps

        def move(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            (p,) = rows
            return (problem.advance(p, problem.ascent(p, of=of), α, of),)

        return climb(problem, problem.start(), self.steps, move)
