"""Fast minimum-norm attack (Pintor et al., 2021, arXiv:2102.12827).

Left open by the paper, or chosen otherwise after measuring (see docs/attacks/minimal-norm.md):
- the step is the ball's steepest one (in l-infinity the gradient's sign) and a share of the current radius; the paper
  steps along the gradient of l2 length 1 in every norm;
- the first-order guess of the boundary's distance, made until there is a success, never lets the radius grow by less
  than gamma nor by more than a factor of 2, so that a wrong guess neither stalls nor throws away the search;
- the first step goes to the nearest of the `rivals` likeliest classes, as DeepFool does, for one backward pass each:
  the difference of logits alone goes to the likeliest, and would stay there where another class is nearer;
- an example that hardly gains any more goes through the rest of its schedule faster, and leaves (`pace`);
- in l2 the perturbation is stretched to the radius, too: the box cuts off what the guess reckons with;
- gamma falls from 0.1 to 0.003 (paper: 0.05 to 0.0001), since there are fewer steps;
- in the end the smallest success is moved along the segment to the clean image, and from there once more to the
  nearest point of the linearised boundaries of several classes (`ending`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Goal, Problem, at_least, between
from advbench_attacks.common.ending import LANDING, ended
from advbench_attacks.common.pace import Pace
from advbench_attacks.common.radius import dual, inside, length, stretched, unit
from advbench_attacks.fab import likeliest, nearest_class

FINAL = 8
"""Forward passes of the way back along the segment."""


@dataclass(frozen=True)
class FMN(Attack):
    name = "fmn"
    reference = "https://arxiv.org/abs/2102.12827"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    minimizes = True
    trial = {"steps": 40}

    steps: int = at_least(1, default=100)
    gamma: float = between(0, 1, default=0.1)  # by which share the radius shrinks or grows, in the beginning
    rivals: int = at_least(1, default=5)  # the likeliest other classes, of which the first step takes the nearest
    settled: float = between(0, 1, default=0.02)  # who gains less than this share in five steps hurries; 0 is nobody

    def passes(self, classes: int) -> int:
        return self.steps + 2 + FINAL + LANDING

    def perturb(self, problem: Problem) -> Tensor:
        self.search(problem)
        return ended(problem, FINAL)

    def search(self, problem: Problem) -> None:
        """All but the way back in the end; the problem remembers what is found."""
        of, norm, shape = problem.active, problem.threat.norm, (-1, *problem.images.shape[1:])
        goal, x = problem.goal[of], problem.images[of].flatten(1)
        low, high, p = -x, 1 - x, torch.zeros_like(x)
        radius = p.new_zeros(len(p), 1)
        pace = Pace(self.steps, self.settled, p)
        alphas, gammas = pace.falling(1, 0.01), pace.falling(self.gamma, 0.03 * self.gamma)
        for step in range(self.steps):
            if len(of) == 0:
                break
            margin, gradient = self._margin(problem, goal, p.view(shape), of, clean=step == 0)
            won, size = margin > 0, length(p, norm)
            pace.saw(won, size)
            alpha, gamma = pace.of_rows(alphas), pace.of_rows(gammas)
            guess = size + margin.abs() / dual(gradient, norm).unsqueeze(1)
            if step > 0:
                guess = inside(guess, radius * (1 + gamma), 2 * radius)
            grown, farthest = radius * (1 + gamma), math.sqrt(x.shape[1])  # no perturbation in the box is longer
            outward = torch.where(pace.best.isfinite(), grown, guess.nan_to_num(0, 1, 0).clamp_max(farthest))
            radius = torch.where(won, torch.minimum(radius * (1 - gamma), pace.best), outward)
            direction = gradient.sign() if norm == "linf" else unit(gradient)
            q = (alpha * radius * direction).add_(p)
            q = inside(inside(q, -radius, radius), low, high) if norm == "linf" else stretched(q, radius, low, high)
            left = pace.left(step, problem)
            p = pace.moved(p, q, left)
            if left is not None:
                of, goal = of[left], goal[left]
                low, high, radius = (rows[left] for rows in (low, high, radius))
        problem.logits(p.view(shape), of)

    def _margin(self, problem: Problem, goal: Goal, p: Tensor, of: Tensor, *, clean: bool) -> tuple[Tensor, Tensor]:
        """How far the goal is reached, and the gradient; at the clean image, of the class with the nearest plane."""
        if clean and self.rivals > 1 and problem.classes > 2 and not goal.targeted:
            labels = goal.labels.unsqueeze(1)
            classes = torch.cat([labels, likeliest(problem.logits(p, of), labels, self.rivals)], 1)
            margin, gradient = nearest_class(problem, p, of, classes, boxed=True)
        else:
            probe = problem.probe(p, Goal.margin, of)
            margin, gradient = goal.margin(probe.logits), probe.gradient.flatten(1)
        return (margin - MARGIN).unsqueeze(1), gradient.nan_to_num(0, 0, 0)
