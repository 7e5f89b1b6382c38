"""Adversarial training in any ball (Madry et al., 2018, arXiv:1706.06083)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import values
from advbench.draws import Draws
from advbench.parameters import at_least
from advbench.plugin import Defense
from advbench.recipe import Recipe


@dataclass(frozen=True)
class AdversarialTraining(Defense):
    """Trains on what projected gradient descent makes of each batch, in a ball whose radius grows over the warm-up."""

    name = "adversarial-training"
    reference = "Madry et al., 2018, arXiv:1706.06083"
    trains = True

    threat: str = "linf(eps=0.3)"
    steps: int = at_least(1, default=10)
    travel: float = 2.5  # total path length, in radii of the ball, as in the attack `pgd`
    epochs: float = 1.0  # times the epochs of the model's recipe
    warm_up: float = 0.5  # share of the training over which the radius grows, else a small net stays at chance
    clean: float = 0.0  # share of each batch left as it is

    def training_recipe(self, recipe: Recipe) -> Recipe:
        # a robust network is a less accurate one: the floor is for training that failed, not for this price
        return replace(recipe, epochs=max(1, math.ceil(self.epochs * recipe.epochs)), floor=0.9 * recipe.floor)

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        whole = values.threat(self.threat)
        threat = whole.at(whole.eps * min(1.0, progress / self.warm_up)) if self.warm_up else whole
        kept = round(self.clean * len(images))
        x, y = images[kept:], labels[kept:]
        draws = draws.subset(torch.arange(kept, len(images), device=images.device))
        p = threat.start(x, draws)
        for _ in range(self.steps):
            p = p.detach().requires_grad_()
            loss = F.cross_entropy(net(threat.apply(x, p)), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, p)
            with torch.no_grad():
                step = threat.steepest(x, gradient).mul_(self.travel * threat.eps / self.steps)
                p = threat.project(x, p + step)
        with torch.no_grad():
            worst = threat.apply(x, p).clamp(0, 1)
        return torch.cat([images[:kept], worst]), labels
