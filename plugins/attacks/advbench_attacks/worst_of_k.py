"""The worst of k random rotations and shifts (Engstrom et al., 2019, arXiv:1712.02779).

The paper takes k = 10 and keeps, of the transforms that fool, the one of the highest loss; here that takes `stop: end`,
since an example leaves at its first success otherwise. Where none fools, the one of the highest loss is returned, which
matters when it is judged on other targets than its own.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, at_least


@dataclass(frozen=True)
class WorstOfK(Attack):
    name = "worst-of-k"
    reference = "https://arxiv.org/abs/1712.02779"
    threats = frozenset({"rotate-shift"})
    needs = Access.LOGITS

    k: int = at_least(1, default=10)

    @property
    def measures(self) -> bool:  # type: ignore[override]  # a matter of how many there are
        return self.k == 1

    def passes(self, classes: int) -> int:
        return self.k

    def perturb(self, problem: Problem) -> Tensor:
        worst = problem.start(random=True)
        highest = problem.goal.cross_entropy(problem.logits(worst))
        for _ in range(self.k - 1):
            if problem.done:
                break
            p = problem.start(random=True)
            loss = problem.goal.cross_entropy(problem.logits(p))
            worse = (loss > highest) | highest.isnan()
            worst = torch.where(worse.unsqueeze(1), p, worst)
            highest = torch.where(worse, loss, highest)
        return worst
