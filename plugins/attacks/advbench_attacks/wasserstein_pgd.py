"""Projected gradient ascent over transport plans (Wu, Wang and Yu, 2020, arXiv:2008.02883), in the ball of Wong et al.

Wong et al. (2019, arXiv:1902.07906) step in pixels and project with entropic smoothing; Wu et al. step in plans, as
here, project exactly, and send back what exceeds 1 in the end. Chosen here: every step is projected onto budget and
pixel limits together; unit steps of the ball's own geometry are gathered with momentum, their length falls
geometrically from `step` to `last`, both in radii of the ball. The first run begins at the image, restarts at random
plans.
"""

from dataclasses import dataclass

from torch import Tensor

from advbench import Access, Attack, Problem, at_least, between, one_of
from advbench_attacks.common.climb import Rows, climb, steepest
from advbench_attacks.common.losses import LOSSES


@dataclass(frozen=True)
class WassersteinPGD(Attack):
    name = "wasserstein-pgd"
    reference = "https://arxiv.org/abs/2008.02883"
    threats = frozenset({"wasserstein"})
    needs = Access.GRADIENTS
    trial = {"steps": 20}

    steps: int = at_least(1, default=80)
    restarts: int = at_least(1, default=1)
    loss: str = one_of("margin", "ce", "dlr")
    momentum: float = between(0, 1, default=0.7)  # what is kept of the direction at every step
    step: float = at_least(0, default=0.3)  # length of the first step, in radii of the ball
    last: float = at_least(0, default=0.01)  # and of the last one

    def passes(self, classes: int) -> int:
        return self.steps * self.restarts

    def perturb(self, problem: Problem) -> Tensor:
        p = self.ascended(problem, problem.start())
        for _ in range(self.restarts - 1):
            if problem.done:
                break
            p = self.ascended(problem, problem.start(random=True))
        return p

    def ascended(self, problem: Problem, p: Tensor) -> Tensor:
        """The perturbation at which one ascent from `p` ends."""
        lengths = falling(self.step * problem.eps, self.last * problem.eps, self.steps)

        def move(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            p, direction = rows
            uphill = steepest(problem, problem.gradient(p, LOSSES[self.loss], of), of)
            direction = self.momentum * direction + uphill
            return problem.project(p + lengths[turn] * direction, of), direction

        return climb(problem, p, self.steps, move, memories=1)


def falling(first: float, last: float, steps: int) -> list[float]:
    """From `first` to `last`, each the same share of the one before."""
    ratio = (last / first) ** (1 / max(steps - 1, 1)) if first > 0 else 0.0
    return [first * ratio**turn for turn in range(steps)]
