"""Directed descent in an l∞ ball, step by step, by the rules of the report's figures 2 and 18.

The same steps as `pgd(start=image, rule=…)`, whose losses on the way nobody stores; and a radius for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

β1, β2, ε = 0.9, 0.999, 1e-8
RULES = ("adam", "sgd", "sign")
Ask = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Descent:
    losses: Tensor
    """(steps + 1, N): cross-entropy towards the aim, before the first step and after each."""
    images: Tensor
    """Where it ended."""


def descend(ask: Ask, x: Tensor, aim: Tensor, radius: Tensor, *, rule: str, rate: float, steps: int) -> Descent:
    """From the image down the loss towards `aim`; every step ends inside the ball and between black and white.

    `radius` holds one number a row. A step of `sign` is `rate` radii long, one of `sgd` the gradient times `rate`.
    """
    if rule not in RULES:
        raise ValueError(f"no rule {rule!r}")
    limit = radius.view(-1, *[1] * (x.ndim - 1))
    low, high = torch.maximum(-limit, -x), torch.minimum(limit, 1 - x)
    p, m, v = (torch.zeros_like(x) for _ in range(3))
    losses = []
    for turn in range(steps):
        loss, gradient = _slope(ask, x + p, aim)
        losses.append(loss)
        if rule == "sign":
            step = rate * limit * gradient.sign()
        elif rule == "sgd":
            step = rate * gradient
        else:
            m = β1 * m + (1 - β1) * gradient
            v = β2 * v + (1 - β2) * gradient.square()
            step = rate * (m / (1 - β1 ** (turn + 1))) / ((v / (1 - β2 ** (turn + 1))).sqrt() + ε)
        p = torch.minimum(torch.maximum(p - step, low), high)
    with torch.no_grad():
        losses.append(F.cross_entropy(ask(x + p), aim, reduction="none"))
    return Descent(torch.stack(losses), x + p)


def _slope(ask: Ask, images: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    images = images.detach().requires_grad_(True)
    loss = F.cross_entropy(ask(images), aim, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), images)
    return loss.detach(), gradient.nan_to_num(0, 0, 0)
