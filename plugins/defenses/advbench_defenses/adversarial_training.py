"""Adversarial training in any ball (Madry et al., 2018, arXiv:1706.06083).

Madry et al. climb along the steepest direction (`rule=steepest`), D'Costa et al. (2019) by Adam, which is given here
the rate that makes its first step as long as a steepest one in l∞. Engstrom et al. (2019, arXiv:1712.02779) train on
the worst of ten random transforms: `adversarial-training(threat=rotate-shift, rule=worst-of-k)`.

Wong et al. (2019, arXiv:1902.07906) let the radius of an image that is not fooled yet grow by 1.4 every 5 of 50 steps,
from 0.1 to 0.1 · 1.4⁹ = 2.1, and go on with the others as they are. That is
`adversarial-training(threat="wasserstein(eps=2.1, power=2)", steps=50, growth=1.4, stop=first, warm_up=0)`; their
steps are signs in pixels, ours the ball's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import AdvbenchError, Dataset, Defense, Draws, Recipe, Threat, at_least, core_threat, one_of

BALLS = ("linf", "l2", "wasserstein", "rotate-shift")
"""Those in which a loss can be climbed."""
β1, β2, ε = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class AdversarialTraining(Defense):
    """Trains on what an inner attack makes of each batch, in a ball whose radius grows over the warm-up."""

    name = "adversarial-training"
    reference = "Madry et al., 2018, arXiv:1706.06083"
    trains = True

    threat: str = "linf(eps=0.3)"
    steps: int = at_least(1, default=10)  # of worst-of-k: how many are drawn
    travel: float = 2.5  # total path length, in radii of the ball, as in the attack `pgd`
    epochs: float = 1.0  # times the epochs of the model's recipe
    warm_up: float = 0.5  # share of the training over which the radius grows, else a small net stays at chance
    clean: float = 0.0  # share of each batch left as it is
    rule: str = one_of("steepest", "adam", "worst-of-k")
    growth: float = at_least(1, default=1.0)  # the radius grows by this factor within a climb, up to the ball's own
    every: int = at_least(1, default=5)  # steps between two growths
    stop: str = one_of("end", "first")  # first: an image that is fooled climbs no further

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            ball = core_threat(self.threat)
        except AdvbenchError as error:
            raise AdvbenchError(f"{self.name}: threat: {error}") from error
        if ball.name not in BALLS:
            raise AdvbenchError(f"{self.name} can't train in {ball.name} balls; take one of {', '.join(BALLS)}")
        if not math.isfinite(ball.eps):
            raise AdvbenchError(f"{self.name}: a ball without a radius has no worst case; write {ball.name}(eps=…)")

    def why_not(self, dataset: Dataset) -> str | None:
        return core_threat(self.threat).why_not(dataset.shape)

    def training_recipe(self, recipe: Recipe) -> Recipe:
        # a robust network is a less accurate one: the floor is for training that failed, not for this price
        return replace(recipe, epochs=max(1, math.ceil(self.epochs * recipe.epochs)), floor=0.9 * recipe.floor)

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        whole = core_threat(self.threat)
        threat = whole.at(whole.eps * min(1.0, progress / self.warm_up)) if self.warm_up else whole
        kept = round(self.clean * len(images))
        x, y = images[kept:], labels[kept:]
        draws = draws.subset(torch.arange(kept, len(images), device=images.device))
        search = self._worst_of_k if self.rule == "worst-of-k" else self._climb
        p = search(net, threat, x, y, draws)
        with torch.no_grad():
            worst = threat.apply(x, p).clamp(0, 1)
        return torch.cat([images[:kept], worst]), labels

    def _climb(self, net: nn.Module, threat: Threat, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
        ball = self._grown(threat, 0)
        p = ball.start(x, draws)
        m, v = torch.zeros_like(p), torch.zeros_like(p)
        rows = torch.arange(len(x), device=x.device)  # who still climbs
        for turn in range(self.steps):
            ball = self._grown(threat, turn)
            q = p[rows].requires_grad_()
            logits = net(threat.apply(x[rows], q))
            loss = F.cross_entropy(logits, y[rows], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, q)
            with torch.no_grad():
                if self.stop == "first":
                    left = (logits.argmax(1) == y[rows]).nonzero().squeeze(1)
                    rows, q, gradient = rows[left], q[left], gradient[left]
                    if not len(rows):
                        break
                length = self.travel * ball.eps / self.steps
                if self.rule == "adam":
                    m[rows] = β1 * m[rows] + (1 - β1) * gradient
                    v[rows] = β2 * v[rows] + (1 - β2) * gradient.square()
                    mean, spread = m[rows] / (1 - β1 ** (turn + 1)), v[rows] / (1 - β2 ** (turn + 1))
                    step = length * mean / (spread.sqrt() + ε)
                else:
                    step = ball.steepest(x[rows], gradient).mul_(length)
                p[rows] = ball.project(x[rows], q + step)
        return p

    def _grown(self, threat: Threat, turn: int) -> Threat:
        """The ball at this step: the whole one at the last."""
        left = (self.steps - 1) // self.every - turn // self.every
        return threat.at(threat.eps / self.growth**left)

    def _worst_of_k(self, net: nn.Module, threat: Threat, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
        worst, highest = threat.start(x, draws), None
        with torch.no_grad():
            for turn in range(self.steps):
                p = threat.start(x, draws) if turn else worst
                loss = F.cross_entropy(net(threat.apply(x, p)), y, reduction="none")
                worse = loss > highest if highest is not None else torch.ones_like(loss, dtype=torch.bool)
                worst = torch.where(worse.view(-1, *[1] * (p.ndim - 1)), p, worst)
                highest = loss if highest is None else torch.maximum(loss, highest)
        return worst
