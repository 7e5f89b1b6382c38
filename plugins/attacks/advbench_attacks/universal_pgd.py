"""Universal perturbations by projected stochastic ascent on a bounded loss (Shafahi et al., 2020, arXiv:1811.11304).

The paper caps the cross-entropy so that images which are fooled already don't outweigh the others. Here the bounded
loss is how improbable the true label is, at a temperature: its mean is the share of fooled images, made smooth. Steps
are the ball's steepest ones for a batch's mean gradient, and shrink geometrically. The loss does better than the cap
(measured, see the documentation).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Goal, Problem, at_least, between


@dataclass(frozen=True)
class UniversalPGD(Attack):
    name = "universal-pgd"
    reference = "https://arxiv.org/abs/1811.11304"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    scope = "set"

    epochs: int = at_least(1, default=10)
    batch: int = at_least(1, default=64)
    first: float = between(1e-6, 2, default=0.4)  # step, in radii of the ball
    last: float = between(1e-6, 2, default=0.1)
    temperature: float = at_least(1e-3, default=3.0)

    def passes(self, classes: int) -> int:
        return self.epochs

    def perturb(self, problem: Problem) -> Tensor:
        v = problem.start()
        batches = -(-len(problem.images) // self.batch)
        decay = (self.last / self.first) ** (1 / (self.epochs * batches))
        step = self.first * problem.eps
        for _ in range(self.epochs):
            for drawn in torch.split(problem.draws.uniform(1).squeeze(1).argsort(stable=True), self.batch):
                gradient = problem.gradient(v, self._improbable, of=drawn).mean(0, keepdim=True)
                v = problem.project(v + step * problem.threat.steepest(v, gradient))
                step *= decay
            if problem.done:
                break
        return v

    def _improbable(self, goal: Goal, logits: Tensor) -> Tensor:
        # so warm that no image is beyond reach: at e**-10 its gradient still has digits
        warm = (goal.margin(logits.detach()).abs() / 10).clamp_min(self.temperature).view(-1, 1)
        chosen = (logits / warm).softmax(1).gather(1, goal.labels.view(-1, 1)).squeeze(1)
        return chosen if goal.targeted else -chosen
