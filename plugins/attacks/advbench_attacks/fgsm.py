"""Fast gradient sign method, in every ball's own geometry (Goodfellow et al., 2015, arXiv:1412.6572)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advbench.access import Access
from advbench.parameters import at_least
from advbench.plugin import Attack
from advbench.problem import Problem


@dataclass(frozen=True)
class FGSM(Attack):
    name: ClassVar[str] = "fgsm"
    reference: ClassVar[str] = "https://arxiv.org/abs/1412.6572"
    threats: ClassVar[frozenset[str]] = frozenset({"linf", "l2", "wasserstein", "rotate-shift"})
    needs: ClassVar[Access] = Access.GRADIENTS

    travel: float = at_least(0, default=1.0)  # length of the one step, in radii of the ball

    def passes(self, classes: int) -> int:
        return 1

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        return problem.project(p + self.travel * problem.eps * problem.ascent(p))
