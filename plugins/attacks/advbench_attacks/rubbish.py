"""Rubbish that a network is sure of, by gradient ascent from noise (Nguyen et al., 2015, arXiv:1412.1897, section 3.3).

They climb with plain gradients and a penalty on the image's length; here each step moves every pixel alike, shrinks
towards the end, and the box is the only bound. An example is done when the confidence is reached.
"""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from advbench import Access, Attack, Goal, Problem, at_least, between


def log_confidence(goal: Goal, logits: Tensor) -> Tensor:
    """Of the class to reach, or of the surest class that is not the label."""
    every = F.log_softmax(logits, 1)
    chosen = goal.labels.view(-1, 1)
    if goal.targeted:
        return every.gather(1, chosen).squeeze(1)
    return every.scatter(1, chosen, -math.inf).amax(1)


@dataclass(frozen=True)
class Rubbish(Attack):
    name = "rubbish"
    reference = "https://arxiv.org/abs/1412.1897"
    threats = frozenset({"box"})
    needs = Access.GRADIENTS

    steps: int = at_least(1, default=100)
    step: float = at_least(0, default=0.05)  # of a pixel's range at first, a tenth of it at the end
    confidence: float = between(0, 1, default=0.99)

    def passes(self, classes: int) -> int:
        return self.steps

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start(random=True)
        climbing = problem.active
        for turn in range(self.steps):
            probe = problem.probe(p[climbing], log_confidence, of=climbing)
            unsure = ~(log_confidence(problem.goal[climbing], probe.logits).exp() >= self.confidence)
            climbing, gradient = climbing[unsure], probe.gradient[unsure]
            if problem.done or len(climbing) == 0:
                break
            length = self.step * problem.eps * 0.1 ** (turn / self.steps)
            uphill = problem.threat.steepest(problem.images[climbing], gradient)
            p[climbing] = problem.project(p[climbing] + length * uphill, of=climbing)
        return p
