"""Frank and Wolfe's method over transport plans (Wu, Wang and Yu, 2020, arXiv:2008.02883), its linear step exact.

Every step moves a share of 2 / (k + 2) of the way to the plan that is best for the loss's linear part. Wu et al. find
that plan with entropic smoothing and send mass above 1 back in the end. Here it is exact (one multiplier an image), and
what a pixel holds beyond 1 lowers its pull, in the k-th step by √(k + 1) times as much as in the first: the homotopy of
Yurtsever et al. (2018, arXiv:1804.08544), which ends at the best plan with all pixels within 1. The network sees only
projected images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, Wasserstein, at_least, one_of
from advbench_attacks.common.climb import Rows, climb
from advbench_attacks.common.losses import LOSSES


@dataclass(frozen=True)
class FrankWolfe(Attack):
    name = "frank-wolfe"
    reference = "https://arxiv.org/abs/2008.02883"
    threats = frozenset({"wasserstein"})
    needs = Access.GRADIENTS
    trial = {"steps": 20}

    steps: int = at_least(1, default=80)
    loss: str = one_of("ce", "margin", "dlr")
    penalty: float = at_least(0, default=1.0)  # for a pixel that holds twice its limit, in the image's strongest pull

    def passes(self, classes: int) -> int:
        return self.steps

    def perturb(self, problem: Problem) -> Tensor:
        ball = problem.threat
        assert isinstance(ball, Wasserstein)

        def move(turn: int, of: Tensor | None, rows: Rows) -> Rows:
            p, plan = rows
            x = problem.images if of is None else problem.images[of]
            pull = of_unit_height(ball.on_pixels(problem.gradient(p, LOSSES[self.loss], of)))
            overflow = (ball.apply(x, plan) - 1).clamp_min(0)
            best = ball.furthest(x, pull - self.penalty * (turn + 1) ** 0.5 * overflow)
            # the first step goes all the way: where the plan begins doesn't matter
            plan = plan + 2 / (turn + 2) * (best - plan)
            return problem.project(plan, of), plan

        return climb(problem, problem.start(), self.steps, move, memories=1)


def of_unit_height(pull: Tensor) -> Tensor:
    """Every image divided by its largest entry; zero where it is zero or no number."""
    finite = pull.nan_to_num(0, 0, 0)
    height = finite.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    return finite / torch.where(height > 0, height, 1)
