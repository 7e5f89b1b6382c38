"""Universal perturbations from DeepFool steps (Moosavi-Dezfooli et al., 2017, arXiv:1610.08401).

The published algorithm goes through the images one by one, and adds to the perturbation what DeepFool finds for each
that is not fooled yet. Here a batch takes its DeepFool steps together and adds their mean direction, as far as they ask
on average: nothing is done one image at a time, and an image does not see what its neighbours in the batch add. What
an image asks for is cut to the ball's radius first, or those that are out of reach would drown the others. Linearised
are the classes nearest to each image instead of all. `xi` is the ball's radius, and 1 - delta is `rate`. Fooled is who
leaves the label, where the paper holds on to what the network said before. The perturbation of the epoch that fooled
most is kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, Threat, at_least, between


@dataclass(frozen=True)
class UniversalDeepFool(Attack):
    name = "universal-deepfool"
    reference = "https://arxiv.org/abs/1610.08401"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    targeted = False
    scope = "set"

    epochs: int = at_least(1, default=5)
    batch: int = at_least(1, default=64)
    rate: float = between(0, 1, default=0.8)  # it stops when this share is fooled: 1 - delta
    steps: int = at_least(1, default=5)  # of DeepFool, for one image
    overshoot: float = at_least(0, default=0.02)
    candidates: int = at_least(2, default=5)

    def passes(self, classes: int) -> int:
        return self.epochs * (self.steps + 3)

    def perturb(self, problem: Problem) -> Tensor:
        v = best = problem.start()
        most = torch.zeros((), dtype=torch.int64, device=v.device)
        for _ in range(self.epochs):
            for drawn in torch.split(problem.draws.uniform(1).squeeze(1).argsort(stable=True), self.batch):
                left = drawn[~problem.reached(v, of=drawn)]
                if len(left):
                    asked = deepfool(problem, v, left, problem.threat, self.steps, self.overshoot, self.candidates)
                    v = problem.project(v + _together(problem, problem.project(asked)))
            fooled = problem.reached(v).sum()
            best, most = torch.where(fooled > most, v, best), torch.maximum(fooled, most)
            if problem.done or int(most) >= self.rate * len(problem.images):
                break
        return best


def _together(problem: Problem, asked: Tensor) -> Tensor:
    """The mean of what is asked, as large as what is asked for on average."""
    mean = asked.mean(0, keepdim=True)
    sizes, size = problem.threat.size(asked, asked), problem.threat.size(mean, mean)
    return mean * torch.where(size > 0, sizes.mean() / size, 0).to(mean.dtype).view(-1, *[1] * (mean.ndim - 1))


def deepfool(
    problem: Problem, v: Tensor, of: Tensor, ball: Threat, steps: int, overshoot: float, candidates: int
) -> Tensor:
    """What each image needs on top of v to leave its label: steps to the nearest edge of the linearised network."""
    labels = problem.goal.labels[of].view(-1, 1)
    # the label first, then the classes that are nearest now
    ahead = problem.logits(v, of).scatter(1, labels, torch.inf)
    classes = ahead.topk(min(candidates, problem.classes), dim=1).indices
    classes[:, :1] = labels
    asked = v.new_zeros(len(of), *v.shape[1:])
    rows = torch.arange(len(of), device=v.device)
    for _ in range(steps):
        seen = problem.jacobian(v + (1 + overshoot) * asked[rows], classes[rows], of[rows])
        logits = seen.logits.gather(1, classes[rows])
        gaps = logits[:, :1] - logits[:, 1:]
        slopes = seen.gradient[:, 1:] - seen.gradient[:, :1]
        flat = slopes.flatten(0, 1)
        directions = ball.steepest(flat, flat).view_as(slopes)
        rise = (slopes * directions).flatten(2).sum(2)
        distance = torch.where(rise > 0, gaps / rise, torch.inf).nan_to_num(torch.inf, posinf=torch.inf)
        far, nearest = distance.min(1)
        inside = ((gaps > 0).all(1) & far.isfinite()).nonzero().squeeze(1)  # the others are through, or lost
        if len(inside) == 0:
            break
        rows = rows[inside]
        asked[rows] += far[inside].view(-1, *[1] * (v.ndim - 1)) * directions[inside, nearest[inside]]
    return (1 + overshoot) * asked
