"""A patch whose place is chosen first and whose content then climbs (after Karmon et al., 2018, arXiv:1801.02608).

The core's attacks serve the ball as it is, and the place is where their first gradient is largest. Here several places
are climbed at: those where a square has most to gain by the gradient of the clean image, or such as are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, at_least, one_of
from advbench_threats.patch import Patch


@dataclass(frozen=True)
class PatchClimb(Attack):
    """A square at the best of several places, whose content climbs by the sign of the gradient."""

    name: ClassVar[str] = "patch-climb"
    reference: ClassVar[str] = "https://arxiv.org/abs/1801.02608"
    threats: ClassVar[frozenset[str]] = frozenset({"patch"})
    needs: ClassVar[Access] = Access.GRADIENTS
    trial: ClassVar = {"tries": 2, "steps": 5}

    tries: int = at_least(1, default=8)  # places
    steps: int = at_least(1, default=20)  # at each of them
    step: float = at_least(0, default=0.1)  # how far a pixel moves
    places: str = one_of("ranked", "drawn")

    def passes(self, classes: int) -> int:
        return 1 + self.tries * (self.steps + 1)

    def perturb(self, problem: Problem) -> Tensor:
        ball = cast(Patch, problem.threat)
        p = problem.start()
        if not ball.side:
            return p
        for place in self._chosen(problem, ball):
            if problem.done:
                break
            p = self._climbed(problem, ball, place)
        return p

    def _chosen(self, problem: Problem, ball: Patch) -> list[Tensor]:
        """A place for every example, one try after the other, the most promising first."""
        if self.places == "drawn":
            tall, wide = ball.places(problem.images)
            return [problem.draws.integers(tall * wide) for _ in range(self.tries)]
        x = problem.images
        gradient = problem.gradient(problem.start()).nan_to_num(0, 0, 0)
        room = torch.where(gradient > 0, 1 - x, x)
        gain = ball.held((gradient.abs() * room).sum(1, keepdim=True, dtype=torch.float64))
        best = gain.argsort(dim=1, descending=True, stable=True)
        # neighbours of the best place are nearly as good and nearly the same: take places evenly from the better half
        stride = max(1, best.shape[1] // (2 * self.tries))
        return list(best[:, : stride * self.tries : stride].T)

    def _climbed(self, problem: Problem, ball: Patch, place: Tensor) -> Tensor:
        """The perturbation after climbing the loss inside one square, beginning with grey."""
        x = problem.images
        p = ball.cut(0.5 - x, place)
        for _ in range(self.steps):
            if problem.done:
                break
            uphill = problem.gradient(p).nan_to_num(0, 0, 0).sign()
            p = ball.cut(p + self.step * uphill, place).clamp(-x, 1 - x)
        problem.logits(p)
        return p
