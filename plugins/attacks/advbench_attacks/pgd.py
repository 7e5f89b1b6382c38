"""Projected gradient descent (Madry et al., 2018, arXiv:1706.06083)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advbench.access import Access
from advbench.parameters import at_least
from advbench.plugin import Attack
from advbench.problem import Problem


@dataclass(frozen=True)
class PGD(Attack):
    name: ClassVar[str] = "pgd"
    reference: ClassVar[str] = "https://arxiv.org/abs/1706.06083"
    threats: ClassVar[frozenset[str]] = frozenset({"linf", "l2", "wasserstein", "rotate-shift"})
    needs: ClassVar[Access] = Access.GRADIENTS

    steps: int = at_least(1, default=40)
    travel: float = at_least(0, default=2.5)  # total path length, in radii of the ball

    def passes(self, classes: int) -> int:
        return self.steps

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start(random=True)
        step = self.travel * problem.eps / self.steps
        for _ in range(self.steps):
            p = problem.project(p + step * problem.ascent(p))
            if problem.done:
                break
        return p
