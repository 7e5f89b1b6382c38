"""Universal perturbations along the principal attack direction (Universal attacks on equivariant networks, 2019).

Unit vectors of the attack directions of a few images are the rows of a matrix, and its top right singular vector is the
perturbation. The paper leaves open its sign, the radius, and what the gradient is taken of; here both signs and ten
shares of the ball's radius are tried on the same few images, and the gradient is that of the cross-entropy at the true
label. The paper is about l2; in the linf ball the signs of the singular vector take its place.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import L2, Access, Attack, Problem, at_least, one_of
from advbench_attacks.universal_deepfool import deepfool

DEEPFOOL_STEPS, OVERSHOOT, CANDIDATES = 50, 0.02, 10
"""Those of the published DeepFool."""
TOGETHER = 512
"""Images whose DeepFool steps are taken together: the gradients of all classes of 10,000 would fill the memory."""


@dataclass(frozen=True)
class Spectral(Attack):
    name = "spectral"
    reference = "Universal attacks on equivariant networks, 2019 (ICLR submission, anonymous)"
    threats = frozenset({"linf", "l2"})
    needs = Access.GRADIENTS
    targeted = False
    scope = "set"

    directions: str = one_of("gradient", "fgsm", "deepfool")
    sample: int = at_least(0, default=100)  # how many images; 0 takes all
    radii: int = at_least(1, default=10)

    def passes(self, classes: int) -> int:
        return 2 * self.radii + (DEEPFOOL_STEPS + 1 if self.directions == "deepfool" else 1)

    def perturb(self, problem: Problem) -> Tensor:
        count = len(problem.images)
        drawn = problem.draws.uniform(1).squeeze(1).argsort(stable=True)[: self.sample or count]
        v = principal(self._directions(problem, drawn)).view_as(problem.start())
        v = problem.threat.steepest(v, v)
        shares = torch.arange(1, self.radii + 1, dtype=v.dtype, device=v.device) / self.radii
        tried = torch.stack((shares, -shares), 1).view(-1, *[1] * (v.ndim - 1)) * problem.eps * v
        tried = problem.project(tried)
        fooled = torch.stack([problem.reached(one, of=drawn).sum() for one in torch.split(tried, 1)])
        best = (fooled * len(fooled) - torch.arange(len(fooled), device=v.device)).argmax()  # the smallest of equals
        return tried[best].unsqueeze(0)

    def _directions(self, problem: Problem, of: Tensor) -> Tensor:
        v = problem.start()
        if self.directions == "deepfool":
            parts = torch.split(of, TOGETHER)
            return torch.cat([deepfool(problem, v, p, L2(), DEEPFOOL_STEPS, OVERSHOOT, CANDIDATES) for p in parts])
        gradient = problem.gradient(v, of=of)
        return gradient.sign() if self.directions == "fgsm" else gradient


def principal(directions: Tensor) -> Tensor:
    """The top right singular vector of the matrix whose rows are these at unit length; largest entry positive."""
    rows = directions.flatten(1).double().nan_to_num(0, 0, 0)
    rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    # by the smaller of the two Gram matrices: 55,000 images need no matrix larger than their pixels
    if len(rows) < rows.shape[1]:
        top: Tensor = torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -1] @ rows
    else:
        top = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -1]
    top = top / top.norm().clamp_min(torch.finfo(torch.float64).tiny)
    signed: Tensor = top * top[top.abs().argmax()].sign()
    return signed.to(directions.dtype)
