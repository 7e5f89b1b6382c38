"""Decoupled direction and norm (Rony et al., 2019, arXiv:1811.09600).

Left open by the paper, or chosen otherwise after measuring (see docs/attacks/minimal-norm.md):
- the step is a share of the current radius, not a length, so that it suits images of any size and range;
- the factor on the radius falls with the step, from 1 ± gamma to 1 ± gamma / 20: the norm is settled more finely;
- the first radius is 3, from which robust networks are reached as well; the paper starts at 1;
- an example that hardly gains any more goes through the rest of its schedule faster, and leaves (`pace`);
- what the box cuts off is given back once, by stretching again what is left;
- no rounding to 256 grey levels: the referee judges images as they are;
- in the end the smallest success is moved along the segment to the clean image, and from there once more to the
  nearest point of the linearised boundaries of several classes (`ending`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Problem, at_least, between
from advbench_attacks.common.ending import LANDING, ended
from advbench_attacks.common.pace import Pace
from advbench_attacks.common.radius import length, stretched, unit

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

    steps: int = at_least(1, default=100)
    gamma: float = between(0, 1, default=0.1)  # by which share the radius shrinks or grows, in the beginning
    init: float = at_least(0, default=3.0)  # the first radius
    settled: float = between(0, 1, default=0.02)  # who gains less than this share in five steps hurries; 0 is nobody

    def passes(self, classes: int) -> int:
        return self.steps + 1 + FINAL + LANDING

    def perturb(self, problem: Problem) -> Tensor:
        of, shape = problem.active, (-1, *problem.images.shape[1:])
        goal, x = problem.goal[of], problem.images[of].flatten(1)
        low, high, p = -x, 1 - x, torch.zeros_like(x)
        radius = p.new_full((len(p), 1), self.init)
        pace = Pace(self.steps, self.settled, p)
        alphas, gammas = pace.falling(1, 0.01), pace.falling(self.gamma, self.gamma / 20)
        for step in range(self.steps):
            if len(of) == 0:
                break
            probe = problem.probe(p.view(shape), of=of)
            won = (goal.margin(probe.logits) > MARGIN).unsqueeze(1)
            pace.saw(won, length(p, "l2"))
            alpha, gamma = pace.of_rows(alphas), pace.of_rows(gammas)
            if step > 0:  # the clean image says nothing of the first radius
                radius = radius * torch.where(won, 1 - gamma, 1 + gamma)
            q = stretched((alpha * radius * unit(probe.gradient.flatten(1))).add_(p), radius, low, high)
            left = pace.left(step, problem)
            p = pace.moved(p, q, left)
            if left is not None:
                of, goal = of[left], goal[left]
                low, high, radius = (rows[left] for rows in (low, high, radius))
        problem.logits(p.view(shape), of)
        return ended(problem, FINAL)
