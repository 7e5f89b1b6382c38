"""Fast adaptive boundary attack (Croce and Hein, 2020, arXiv:1907.02044).

In a ball without a radius it looks for the smallest perturbation; inside one (as a part of `autoattack`) the same steps
are taken, and what lies beyond the radius is no success. `targets=n` makes n runs an example, each towards the plane of
one class, for one backward pass a step; `targets=0` finds the nearest plane of the likeliest classes in every step.

Left open by the paper, or chosen otherwise after measuring (see docs/attacks/minimal-norm.md):
- steps aim at planes on which the other class leads by twice the margin that a success needs. On the boundary itself
  the paper's step has length zero, and a point that is not yet a success would stay there for good;
- the nearest plane is sought among those of the `rivals` classes with the highest logits: with 10 classes, of all.
  Three take less than half of the backward passes, and reach fewer images at the same size on a robust network;
- how near a plane is does not ask for the box, as in the paper, until the end: asking ended farther on a robust
  network;
- a cell that aims at a class uses the plane between that class and the highest of the others;
- the final search is the one that all minimal-norm attacks here end with (`ending`), where there is no radius;
- a restart whose example has no success yet begins anywhere in the ball or, without a radius, in the box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Goal, Problem, at_least, between
from advbench_attacks.common.ending import LANDING, ended
from advbench_attacks.common.hyperplane import blockwise, distance, nearest
from advbench_attacks.common.radius import dual, inside, length

FINAL = 8
"""Forward passes of the way back along the segment."""


@dataclass(frozen=True)
class FAB(Attack):
    name = "fab"
    reference = "https://arxiv.org/abs/1907.02044"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    minimizes = True
    trial = {"steps": 10}

    steps: int = at_least(1, default=100)
    restarts: int = at_least(1, default=1)  # the first begins at the image, the others beside it
    targets: int = at_least(0, default=0)  # the likeliest other classes, a run each; 0 is the nearest of all
    alpha: float = between(0, 1, default=0.1)  # the most that a step leans towards the image
    beta: float = between(0, 1, default=0.9)  # what is kept of a success, before the next step
    eta: float = at_least(1, default=1.05)  # by how much a step goes beyond the plane
    rivals: int = at_least(1, default=9)  # likeliest other classes, whose nearest is taken where there are no targets

    def passes(self, classes: int) -> int:
        return 2 * self.steps * self.restarts * max(1, min(self.targets, classes - 1)) + 1 + FINAL + LANDING

    def perturb(self, problem: Problem) -> Tensor:
        logits = problem.logits(problem.start())
        for restart in range(self.restarts):
            start = beside(problem) if restart else problem.start()
            of, aim = self.rows(problem, logits)
            self.walk(problem, start.flatten(1)[of], of, aim, logits[of])
            if problem.done:
                break
        return problem.project(problem.best) if problem.eps < torch.inf else ended(problem, FINAL)

    def rows(self, problem: Problem, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """The example of every row, and the class that it goes for."""
        active, goal = problem.active, problem.goal
        if self.targets == 0 or goal.targeted:
            return active, None
        aims = likeliest(logits[active], goal.labels[active].unsqueeze(1), self.targets)
        return active.repeat_interleave(aims.shape[1]), aims.flatten()

    def walk(self, problem: Problem, p: Tensor, of: Tensor, aim: Tensor | None, logits: Tensor) -> Tensor:
        """The steps of one run from p on, where the target answers `logits`.

        Rows of examples that leave on the way are left out of what returns.
        """
        images, norm, active = problem.images, problem.threat.norm, len(problem.active)
        shape = (-1, *images.shape[1:])
        for _ in range(self.steps):
            if problem.done:
                break
            if len(problem.active) < active:  # whose example has left costs nothing any more
                active = len(problem.active)
                kept = torch.isin(of, problem.active)
                p, of, aim, logits = p[kept], of[kept], aim if aim is None else aim[kept], logits[kept]
            x = images[of].flatten(1)
            rise, normal = self._plane(problem, p.view(shape), of, aim, logits)
            p = blockwise(partial(self._step, norm), p, rise, normal, x)
            logits = problem.logits(p.view(shape), of)
            won = problem.goal[of].margin(logits) > MARGIN
            p = torch.where(won.unsqueeze(1), self.beta * p, p)
        return p

    def _step(self, norm: str, p: Tensor, rise: Tensor, normal: Tensor, x: Tensor) -> Tensor:
        """Onto the plane from p and from the image, and a mean of both, the better the farther p has come."""
        low, high = -x, 1 - x
        near = nearest(normal, rise, low - p, high - p, norm)
        far = nearest(normal, rise + (normal * p).sum(1), low, high, norm)
        way, direct = length(near, norm), length(far, norm)
        alpha = (way / (way + direct).clamp_min(torch.finfo(p.dtype).tiny)).clamp_max(self.alpha)
        return inside((1 - alpha) * (p + self.eta * near) + alpha * self.eta * far, low, high)

    def _plane(
        self, problem: Problem, p: Tensor, of: Tensor, aim: Tensor | None, logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Per row, how much the other class's margin must rise from p on, and the margin's gradient."""
        goal, labels = problem.goal[of], problem.goal.labels[of].unsqueeze(1)
        if goal.targeted or problem.classes == 2:
            probe = problem.probe(p, Goal.margin, of)
            margin, normal = goal.margin(probe.logits), probe.gradient.flatten(1)
        elif aim is not None:
            probe = problem.probe(p, lead, of, aim)
            margin, normal = lead(replace(goal, aim=aim), probe.logits), probe.gradient.flatten(1)
        else:
            rivals = likeliest(logits, labels, self.rivals)
            margin, normal = nearest_class(problem, p, of, torch.cat([labels, rivals], 1), boxed=False)
        return (2 * MARGIN - margin).nan_to_num(0, 0, 0), normal.nan_to_num(0, 0, 0)


def likeliest(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The classes (R, K) with the highest logits, other than the labels (R, 1)."""
    others = logits.nan_to_num(0).scatter(1, labels, -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), 1).indices


def nearest_class(problem: Problem, p: Tensor, of: Tensor, classes: Tensor, *, boxed: bool) -> tuple[Tensor, Tensor]:
    """Per row, margin and gradient of the class whose plane is nearest; `classes` (R, K) begin with the label.

    `boxed` looks for the nearest point inside the box: many pixels can follow a gradient to one side only.
    """
    probe = problem.jacobian(p, classes, of)
    gradients, logits = probe.gradient.flatten(2), probe.logits.gather(1, classes)
    margins, normals = logits[:, 1:] - logits[:, :1], gradients[:, 1:] - gradients[:, :1]
    norm = problem.threat.norm
    if boxed:
        x = (problem.images[of] + p).flatten(1).unsqueeze(1)
        far = distance(normals.nan_to_num(0, 0, 0), -margins.nan_to_num(0, 0, 0), -x, 1 - x, norm)
    else:
        far = margins.abs() / dual(normals, norm).clamp_min(torch.finfo(p.dtype).tiny)
    rows, first = torch.arange(len(of), device=of.device), far.argmin(1)
    return margins[rows, first], normals[rows, first]


def lead(goal: Goal, logits: Tensor) -> Tensor:
    """By how much the class that the row goes for is ahead of the true one."""
    assert goal.aim is not None
    return (logits.gather(1, goal.aim.unsqueeze(1)) - logits.gather(1, goal.labels.unsqueeze(1))).squeeze(1)


def beside(problem: Problem) -> Tensor:
    """A random perturbation, at most half as long as the best success, or else the radius."""
    p, norm = problem.start(random=True), problem.threat.norm
    size = length(problem.best.flatten(1), norm).squeeze(1)
    bound = torch.where(problem.found, size, torch.inf).clamp_max(problem.eps) / 2
    share = (bound / length(p.flatten(1), norm).squeeze(1)).nan_to_num(1, 1).clamp_max(1)
    return p * share.view(-1, *[1] * (p.ndim - 1))
