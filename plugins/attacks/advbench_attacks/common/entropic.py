"""Entropic transport on images (Cuturi, 2013, arXiv:1306.0895; Wong et al., 2019, arXiv:1902.07906), in float64.

A plan is exp(source + target - price * cost - 1) over every place of a window around every pixel: a window sum replaces
a product with a matrix of all pixel pairs. Images are measured in shares of their mass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench import may_wait

LARGEST = 600.0
"""The largest exponent that float64 bears, with room for a sum."""


@dataclass(frozen=True)
class Window:
    """The places that a pixel's mass may go to, and what they cost, (K,)."""

    kernel: int
    cost: Tensor

    def shifted(self, image: Tensor) -> list[Tensor]:
        """For each place of the window, what lies there as seen from every pixel; 0 outside the image."""
        height, width = image.shape[-2:]
        padded = F.pad(image, (self.kernel // 2,) * 4)
        places = ((k // self.kernel, k % self.kernel) for k in range(self.kernel**2))
        return [padded[..., down : down + height, right : right + width] for down, right in places]

    def gathered(self, image: Tensor, *weights: Tensor) -> list[Tensor]:
        """Sums over each pixel's window, for each of the weights (N, K)."""
        # place after place: the order of a sum depends on no neighbour in the batch
        sums = [torch.zeros_like(image) for _ in weights]
        for k, seen in enumerate(self.shifted(image)):
            for total, weight in zip(sums, weights, strict=True):
                total.addcmul_(seen, weight[:, k].view(-1, 1, 1, 1))
        return sums


def nearest_by_sinkhorn(
    source: Tensor, target: Tensor, window: Window, eps: float, sharpness: float, rounds: int
) -> Tensor:
    """The plan (N, K, C, H, W) from `source` whose image is nearest to `target`, with entropy weighted 1 / sharpness.

    Algorithm 2 of Wong et al.: block coordinate ascent on the dual, for the sources' sums, for the targets by Lambert's
    function, and one Newton step for the price of the budget. Both images are shares that sum to about 1.
    """
    source, target = source.double(), target.double()
    price = source.new_ones(len(source))
    push = torch.zeros_like(source)  # the dual of what arrives: exp of it weighs the places
    done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    for turn in range(rounds):
        kernel, dear, dearer = (torch.exp(-price.unsqueeze(1) * window.cost) * window.cost**n for n in (0, 1, 2))
        supply = source / window.gathered(push.exp(), kernel)[0]
        (reach,) = window.gathered(supply, kernel)
        wanted = (sharpness * target - lambert((sharpness * reach).log() + sharpness * target)).clamp(-LARGEST, LARGEST)
        first, second = window.gathered(wanted.exp(), dear, dearer)
        spent, bend = ((supply * sums).flatten(1).sum(1) for sums in (first, second))
        newton = (price + (spent - eps) / bend.clamp_min(1e-300)).clamp(price / 4, 4 * price + 1)
        still = (wanted - push).abs().flatten(1).amax(1) <= 1e-3
        done = done | still & ((newton - price).abs() <= 1e-3 * price)
        # asking costs a wait on a GPU, and who is done stays as he is
        if (may_wait(source.device) or turn % 4 == 3) and bool(done.all()):
            break
        push = torch.where(done.view(-1, 1, 1, 1), push, wanted)
        price = torch.where(done, price, newton)
    return planned(source, push, price, window)


def planned(source: Tensor, push: Tensor, price: Tensor, window: Window) -> Tensor:
    """The plan of these duals, each pixel sending exactly what it has."""
    outside = torch.stack(window.shifted(torch.ones_like(push[:1])), 1) == 0
    toll = (price.unsqueeze(1) * window.cost).view(len(price), -1, 1, 1, 1)
    worth = (torch.stack(window.shifted(push), 1) - toll).masked_fill_(outside, -torch.inf)
    return worth.softmax(1) * source.unsqueeze(1)


def furthest_by_sinkhorn(
    source: Tensor, pull: Tensor, window: Window, eps: float, sharpness: float, rounds: int
) -> Tensor:
    """The plan from `source` along which the product with `pull` grows most, with entropy weighted 1 / sharpness.

    The conjugate step of Wong et al. Only the price of the budget is unknown: found by bisection of its logarithm.
    """
    source, push = source.double(), sharpness * pull.double()
    low = source.new_full((len(source),), 1e-6)
    high = 2 * push.flatten(1).abs().amax(1) + 100  # at which no push is worth a move
    for _ in range(rounds):
        price = (low * high).sqrt()
        plan = planned(source, push, price, window)
        spent = torch.stack([amount.flatten(1).sum(1) for amount in plan.unbind(1)], 1) @ window.cost
        fits = spent <= eps
        low, high = torch.where(fits, low, price), torch.where(fits, price, high)
    return planned(source, push, high, window)


def lambert(logarithm: Tensor) -> Tensor:
    """Lambert's function of exp(logarithm): the y with y + log y = logarithm, by Newton steps."""
    y = torch.where(logarithm > 1, logarithm, logarithm.clamp_max(1).exp())
    y = y.clamp_min(1e-300)
    for _ in range(6):
        # of y + log y; from below it steps over, from above it comes near at once
        y = (y * (1 + logarithm - y.log()) / (1 + y)).clamp_min(1e-300)
    return torch.where(logarithm > -LARGEST, y, 0)
