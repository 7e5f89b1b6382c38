"""DeepFool (Moosavi-Dezfooli et al., 2016, arXiv:1511.04599), with the final search of SuperDeepFool.

Each step goes to the nearest of the linearised decision boundaries. Where the papers leave something open:

- A step is the smallest one inside the box, and not clipped afterwards: on black and white images half of every
  gradient points out of the box.
- Michels et al. (2019) restrict the norm of each step and don't say to how much: `stride` is the largest root mean
  square over the pixels in l2, the largest pixel in l-infinity. Infinity is the paper's step.
- The paper compares the boundaries of all classes in every step. After the first step the nearest stays the same, or
  becomes that of the class which was reached; `compare=every` asks again at ten times the backward passes.
- SuperDeepFool (arXiv:2303.12481) projects the clean image onto the boundary at the point that was reached, and begins
  again from there. Half of that way at a time ends nearer than all of it where boundaries are curved.
  `projections=0` is the paper's attack, which ends at the first point across.
- A bisection towards the clean image takes the place of the paper's overshoot of 2 %.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Problem, at_least, between, one_of
from advbench_attacks.common.bisection import shrink
from advbench_attacks.common.hyperplane import nearest
from advbench_attacks.common.rival import lead, lead_of, nearest_rival, rival_after

OVERSHOOT = 0.02
GAIN = 0.003
"""A projection that makes an example's perturbation smaller by less than this share was its last."""


@dataclass(frozen=True)
class DeepFool(Attack):
    name = "deepfool"
    reference = "https://arxiv.org/abs/1511.04599"
    threats = frozenset({"l2", "linf"})
    needs = Access.GRADIENTS
    targeted = False
    minimizes = True

    steps: int = at_least(1, default=50)
    candidates: int = at_least(1, default=9)  # rival classes whose boundaries are compared, the likeliest first
    compare: str = one_of("first", "every")  # in which steps
    stride: float = at_least(0, default=0.02)
    projections: int = at_least(0, default=5)
    part: float = between(0, 1, default=0.5)  # of the way to the projected clean image
    bisections: int = at_least(0, default=4)

    def passes(self, classes: int) -> int:
        return 2 + self.steps + self.bisections + (self.steps - 1) * (self.compare == "every")

    def perturb(self, problem: Problem) -> Tensor:
        of = problem.active
        p = problem.start()[of]
        rival = problem.goal.labels[of]
        left = torch.full_like(of, self.projections)
        smallest = torch.full_like(of, torch.inf, dtype=torch.float64)
        for step in range(self.steps):
            if step == 0 or self.compare == "every":
                rival = nearest_rival(problem, p, of, self.candidates)
            probe = problem.probe(p, lead, of, aim=rival)
            goal = problem.goal[of]
            across = goal.margin(probe.logits) > MARGIN
            rival = rival_after(goal, probe.logits, rival)
            height = lead_of(goal, probe.logits, rival)
            size = problem.threat.size(p, p)
            wanted = ~across | (left > 0) & (size < (1 - GAIN) * smallest)
            smallest = torch.where(across, size, smallest)
            left = left - across.long()
            q = self._moved(problem, p, of, probe.gradient, height, across)
            stay = problem.staying(wanted)
            if stay is None:  # who would leave stands still until then
                p = torch.where(wanted.view(-1, *[1] * (p.ndim - 1)), q, p)
            else:
                p, of, rival, left, smallest = q[stay], of[stay], rival[stay], left[stay], smallest[stay]
            if len(of) == 0 or problem.done:
                break
        problem.logits(p, of)
        return problem.project(shrink(problem, problem.best, self.bisections))

    def _moved(
        self, problem: Problem, p: Tensor, of: Tensor, gradient: Tensor, height: Tensor, across: Tensor
    ) -> Tensor:
        """Before the boundary, the smallest step onto it and a little beyond, restricted to the stride; across it, a
        part of the way to where the clean image would be projected."""
        back = across.view(-1, *[1] * (p.ndim - 1))
        base = p.masked_fill(back, 0)
        x = problem.images[of] + base
        rise = -height + OVERSHOOT * height.abs() + 3 * MARGIN
        rise = torch.where(across, rise + (gradient * p).flatten(1).sum(1), rise)
        step = nearest(
            gradient.flatten(1), rise.clamp_min(0), -x.flatten(1), 1 - x.flatten(1), problem.threat.norm
        ).view_as(p)
        longest = self.stride * (math.sqrt(math.prod(p.shape[1:])) if problem.threat.norm == "l2" else 1)
        excess = (problem.threat.size(x, step) / longest).clamp_min(1).to(step.dtype)
        return torch.where(back, p + self.part * (step - p), p + step / excess.view(back.shape))
