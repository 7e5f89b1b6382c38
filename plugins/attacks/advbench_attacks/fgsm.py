"""Fast gradient sign method, in every ball's own geometry (Goodfellow et al., 2015, arXiv:1412.6572).

Goodfellow's step is as long as the radius. Qin et al. (2020, arXiv:1907.02957) step 0.05 inside a ball of 0.3, so the
step has a length of its own: `travel` in radii, or `step` in the ball's units.
"""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Geometry, Problem, at_least


@dataclass(frozen=True)
class FGSM(Attack):
    name = "fgsm"
    reference = "https://arxiv.org/abs/1412.6572"
    geometry = Geometry.ASCENT
    needs = Access.GRADIENTS

    travel: float = at_least(0, default=1.0)  # length of the one step, in radii of the ball
    step: float = at_least(0, default=0.0)  # its length in the ball's units instead; 0: by `travel`

    def passes(self, classes: int) -> int:
        return 1

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        return problem.project(p + (self.step or self.travel * problem.eps) * problem.ascent(p))
