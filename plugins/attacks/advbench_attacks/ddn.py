"""Decoupled direction and norm (Rony et al., 2019, arXiv:1811.09600).

Left open by the paper, or chosen otherwise after measuring (see docs/attacks/minimal-norm.md):
- the step is a share of the current radius, not a length, so that it suits images of any size and range;
- the factor on the radius falls with the step, from 1 ± gamma to 1 ± gamma / 20: the norm is settled more finely;
- the first radius is 3, from which robust networks are reached as well; the paper starts at 1;
- what the box cuts off is given back once, by stretching again what is left;
- no rounding to 256 grey levels: the referee judges images as they are;
- in the end the smallest success is moved along the segment to the clean image, and from there once more to the
  nearest point of the linearised boundaries of several classes (`ending`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Problem, at_least, between
from advbench_attacks.common.ending import LANDING, ended
from advbench_attacks.common.radius import stretched, unit

FINAL = 8
"""Forward passes of the way back along the segment."""


@dataclass(frozen=True)
class DDN(Attack):
    name = "ddn"
    reference = "https://arxiv.org/abs/1811.09600"
    threats = frozenset({"l2"})
    needs = Access.GRADIENTS
    minimizes = True
    trial = {"steps": 40}

    steps: int = at_least(1, default=70)
    gamma: float = between(0, 1, default=0.1)  # by which share the radius shrinks or grows, in the beginning
    init: float = at_least(0, default=3.0)  # the first radius

    def passes(self, classes: int) -> int:
        return self.steps + 1 + FINAL + LANDING

    def perturb(self, problem: Problem) -> Tensor:
        x = problem.images
        low, high = (-x).flatten(1), (1 - x).flatten(1)
        p = torch.zeros_like(low)
        radius = p.new_full((len(p), 1), self.init)
        for step in range(self.steps):
            probe = problem.probe(p.view_as(x))
            won = (problem.goal.margin(probe.logits) > MARGIN).unsqueeze(1)
            alpha, gamma = (annealed(first, last, step, self.steps) for first, last in ((1, 0.01), self._gammas))
            if step > 0:  # the clean image says nothing of the first radius
                radius = radius * torch.where(won, 1 - gamma, 1 + gamma)
            p = stretched(p + alpha * radius * unit(probe.gradient.flatten(1)), radius, low, high)
        problem.logits(p.view_as(x))
        return ended(problem, FINAL)

    @property
    def _gammas(self) -> tuple[float, float]:
        return self.gamma, self.gamma / 20


def annealed(first: float, last: float, step: int, steps: int) -> float:
    """The step sizes from first to last along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
