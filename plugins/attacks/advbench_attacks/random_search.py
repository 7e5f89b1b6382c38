"""Random perturbations of the ball, the best of k: what any search must beat that looks at the answers.

`noise` keeps the first that fools and sees labels alone; this one also knows, where none fools, which came nearest, and
asks several in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Geometry, Problem, at_least

TOGETHER = 8
"""Perturbations of an example in one pass."""


@dataclass(frozen=True)
class Random(Attack):
    name = "random"
    geometry = Geometry.START
    needs = Access.LOGITS
    trial = {"tries": 20}

    tries: int = at_least(1, default=100)

    @property
    def measures(self) -> bool:  # type: ignore[override]  # a matter of how many there are
        return self.tries == 1

    def passes(self, classes: int) -> int:
        return self.tries

    def perturb(self, problem: Problem) -> Tensor:
        best = problem.start()
        margin = torch.full((len(best),), -torch.inf, dtype=problem.images.dtype, device=best.device)
        who, draws = problem.active, problem.draws
        for first in range(0, self.tries, TOGETHER):
            if problem.done:
                break
            if len(problem.active) < len(who) or first == 0:
                draws = draws.subset(torch.searchsorted(who, problem.active) if first else who)
                who = problem.active
            x, count = problem.images[who], min(TOGETHER, self.tries - first)
            drawn = torch.stack([problem.threat.start(x, draws) for _ in range(count)], 1)
            of = who.repeat_interleave(count)
            logits = problem.logits(drawn.flatten(0, 1), of)
            reached = problem.goal[of].margin(logits).nan_to_num(-torch.inf).view(-1, count)
            highest, place = reached.max(1)
            better = highest > margin[who]
            rows = better.nonzero().squeeze(1)
            margin[who[rows]] = highest[rows]
            best[who[rows]] = drawn[rows, place[rows]]
        return best
