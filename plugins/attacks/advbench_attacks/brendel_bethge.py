"""A walk along the decision boundary towards the image (Brendel et al., 2019, arXiv:1907.01003), from both sides.

The walk is the paper's: in every step the point nearest to the clean image, on the linearised boundary, in the box and
within a trust region around the current point. The paper solves this per image; here it is bisection over one number
an image, on top of an exact projection, for the whole batch at once:
- l2: the points nearest to image and current point together are projections of points on the segment between them;
- l-infinity: for a bound on the pixels' change, the point nearest to the current one is a projection, too.

Left open by the paper, or chosen otherwise after measuring (see docs/attacks/minimal-norm.md):
- it starts at images of other classes. The starts from the adversarial side are here points beyond the planes of the
  likeliest classes (the first steps of targeted `fab`, which go as far as the corners of the box where gradients are
  masked); the start from the clean side is what a few steps of `fmn` find. Every start is walked from for a part of
  the steps, from then on only the nearest walks of an example go on, and the smallest success of all counts;
- the trust region is a share of the current distance, falling geometrically, and steps have no momentum;
- a step goes beyond the plane by a tenth of the trust region: on a curved boundary the points of the plane itself are
  hardly ever successes.

The defaults are those from which more steps, starts and walks find hardly anything smaller;
`brendel-bethge(steps=40, targets=3, far=8)` is a quarter of the work for norms about a tenth larger on robust networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import MARGIN, Access, Attack, Goal, Problem, at_least
from advbench_attacks.common.ending import LANDING, ended
from advbench_attacks.common.hyperplane import nearest
from advbench_attacks.common.radius import dual, inside, length
from advbench_attacks.fab import FAB
from advbench_attacks.fmn import FMN

FINAL = 8
"""Forward passes of the way back in the end."""
BISECTIONS = 6
"""Halvings per step, of the share of the way to the image or of the pixels' bound."""
TRUST = 0.3, 0.005
"""Radius of the trust region in the first and the last step, in distances from the image."""
TRIED = 0.15
"""After this share of the steps only an example's nearest walks go on."""
BEYOND = 0.1
"""How far a step goes beyond the plane, in radii of the trust region."""


@dataclass(frozen=True)
class BrendelBethge(Attack):
    name = "brendel-bethge"
    reference = "https://arxiv.org/abs/1907.01003"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    minimizes = True
    trial = {"steps": 10, "far": 4, "clean": 10, "targets": 2}

    steps: int = at_least(1, default=100)
    targets: int = at_least(1, default=9)  # starts from the adversarial side: the likeliest other classes, one each
    far: int = at_least(0, default=30)  # steps of `fab` that lead to them; 0 is no such start
    clean: int = at_least(0, default=40)  # steps of `fmn` that lead to the start from the clean side; 0 is none

    kept: int = at_least(1, default=3)  # walks of an example, the nearest ones, that go on after a seventh of the steps

    @property
    def beyond_gradients(self) -> bool:  # type: ignore[override]  # its far starts make the difference
        return self.far > 0

    def passes(self, classes: int) -> int:
        far = FAB(steps=max(1, self.far), targets=self.targets).passes(classes) if self.far else 0
        starts = min(self.targets, classes - 1) * (self.far > 0) + 1
        tried = round(TRIED * self.steps)
        walked = tried * starts + (self.steps - tried + 1) * min(starts, self.kept)
        return 1 + self.clean + 2 * (self.clean > 0) + far + walked + FINAL + LANDING

    def perturb(self, problem: Problem) -> Tensor:
        p, of = self._starts(problem)
        x, norm = problem.images[of], problem.threat.norm
        goal, low, high = problem.goal[of], (-x).flatten(1), (1 - x).flatten(1)
        nearer = within_bound if norm == "linf" else towards_image
        for step in range(self.steps):
            if step == round(TRIED * self.steps):
                size = length(p, norm).squeeze(1)  # 0 is a start that never came about
                rows = shortest(size.masked_fill(size == 0, torch.inf), of, self.kept)
                p, of, x, goal, low, high = p[rows], of[rows], x[rows], goal[rows], low[rows], high[rows]
            probe = problem.probe(p.view_as(x), Goal.margin, of)
            normal = probe.gradient.flatten(1).nan_to_num(0, 0, 0)
            trust = length(p, "l2") * falling(*TRUST, step / max(1, self.steps - 1))
            beyond = 2 * MARGIN + BEYOND * trust.squeeze(1) * dual(normal, "l2")
            rise = (beyond - goal.margin(probe.logits)).nan_to_num(0, 0, 0)
            move = nearer(p, rise, normal, trust, low, high) - p
            share = (trust / length(move, "l2").clamp_min(torch.finfo(p.dtype).tiny)).clamp_max(1)
            p = inside(p + share * move, low, high)
        problem.logits(p.view_as(x), of)
        return ended(problem, FINAL)

    def _starts(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Where the walks begin, and the example of each; with no success from the clean side, at the image."""
        who = problem.active  # a budget may be spent before the starts are found
        of = [who]
        logits = problem.logits(problem.start())
        if self.clean:
            FMN(steps=self.clean, settled=0).search(problem)
        starts = [problem.best.flatten(1)[who]]
        if self.far:
            fab = FAB(steps=self.far, targets=self.targets)
            rows, aim = fab.rows(problem, logits)
            starts.append(fab.walk(problem, problem.start().flatten(1)[rows], rows, aim, logits[rows]))
            of.append(rows)
        return torch.cat(starts), torch.cat(of)


def shortest(size: Tensor, of: Tensor, count: int) -> Tensor:
    """The rows of which fewer than `count` of the same example are smaller, in their order."""
    order = size.argsort(stable=True)
    order = order[of[order].argsort(stable=True)]
    examples = of[order]
    place = torch.arange(len(of), device=of.device) - torch.searchsorted(examples, examples)
    return order[place < count].sort().values


def falling(first: float, last: float, progress: float) -> float:
    """From first to last, by the same factor in every step."""
    return first * math.exp(progress * math.log(last / first))


def towards_image(p: Tensor, rise: Tensor, normal: Tensor, trust: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The point of least l2 length on the plane, in the box, within `trust` of p; where there is none, near p."""

    def at(share: Tensor) -> Tensor:
        q = (1 - share) * p
        return q + nearest(normal, rise + (normal * (p - q)).sum(1), low - q, high - q, "l2")

    near, far = torch.zeros_like(trust), torch.ones_like(trust)
    for _ in range(BISECTIONS):
        share = (near + far) / 2
        fits = length(at(share) - p, "l2") <= trust
        near, far = torch.where(fits, share, near), torch.where(fits, far, share)
    return at(near)


def within_bound(p: Tensor, rise: Tensor, normal: Tensor, trust: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The same for the largest pixel: by bisection over a bound on all of them."""

    def at(bound: Tensor) -> tuple[Tensor, Tensor]:
        tight, wide = torch.maximum(low, -bound), torch.minimum(high, bound)
        q = inside(p, tight, wide)
        missing = rise - (normal * (q - p)).sum(1)
        move = nearest(normal, missing, tight - q, wide - q, "l2")
        short = missing - (normal * move).sum(1)
        on_plane = short.abs() <= 1e-3 * missing.abs() + 0.1 * MARGIN
        return q + move, on_plane.unsqueeze(1)

    near, far = torch.maximum(high, -low).amax(1, keepdim=True), torch.zeros_like(trust)
    for turn in range(BISECTIONS + 1):
        bound = (near + far) / 2 if turn else length(p, "linf")
        point, on_plane = at(bound)
        fits = on_plane & (length(point - p, "l2") <= trust)
        near, far = torch.where(fits, bound, near), torch.where(fits, far, bound)
    return at(near)[0]
