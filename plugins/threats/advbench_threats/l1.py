"""The l1 ball: all changes of pixels add up to at most eps (Chen et al., 2018, arXiv:1709.04114).

Members are projected onto ball and box together, as Croce and Hein ask (2021, arXiv:2103.01208): one after the other
is neither the nearest point nor, for steps that fill many pixels, near it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advbench import Draws, Geometry, Threat


@dataclass(frozen=True)
class L1(Threat):
    """All changes of pixels together add up to at most eps.

    Perturbations are changes of pixels (N, C, H, W), added to the image.
    """

    name = "l1"
    reference: ClassVar[str] = "https://arxiv.org/abs/2103.01208"
    offers: ClassVar[Geometry] = Geometry.START | Geometry.ASCENT | Geometry.PIXELS
    norm: ClassVar[str] = "l1"
    convex: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True
    shareable: ClassVar[bool] = True
    levels: ClassVar[bool] = True
    # a perturbation taken as `image - x` is off by up to 6e-8 a pixel, 1e-4 over a small colour image
    tolerance: ClassVar[float] = 1e-4

    eps: float = 12.0

    def farthest(self, shape: tuple[int, ...]) -> float:
        return float(math.prod(shape))

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Normal numbers, projected: few pixels that change by much, as l1-APGD begins (Croce and Hein, 2021).

        Uniform points of the ball are many that change by next to none: no guess at what an image changes by, and the
        same flat place for every restart of a climb.
        """
        shape = x.shape[1:]
        if math.isinf(self.eps):
            return draws.uniform(*shape, dtype=x.dtype) - x
        return self.project(x, draws.normal(*shape, dtype=x.dtype))

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        return x + p

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        """The nearest member moves every pixel towards p by |p| - λ, or as far as its room goes, for one λ an image.

        What the pixels add up to falls with λ in straight pieces, which join where a pixel leaves its room or comes to
        rest. Sorted and added up, they say on which piece the sum is eps, and there λ is a division.
        """
        room = torch.where(p > 0, 1 - x, x).flatten(1).double()
        wanted = p.flatten(1).double().abs()
        threshold = wanted.new_zeros(len(p), 1) if math.isinf(self.eps) else _threshold(wanted, room, self.eps)
        length = (wanted - threshold).clamp_min(0).minimum(room)
        # some roundings less keep the sum within eps in float32, too
        total = length.sum(1, keepdim=True)
        length = torch.where(total > self.eps, length * (self.eps / total.clamp_min(1e-300)), length)
        return (length.to(p.dtype).view_as(p) * p.sign()).clamp(-x, 1 - x)

    def shrink(self, p: Tensor) -> Tensor:
        wanted = p.flatten(1).double().abs()
        length = (wanted - _threshold(wanted, wanted, self.eps)).clamp_min(0)
        return length.to(p.dtype).view_as(p) * p.sign()

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """A unit of change, divided evenly among the steepest numbers that have room (after Tramèr and Boneh, 2019).

        The steepest step of all moves a single one, and a climb would take as many steps as there are pixels to move.
        A step moves the numbers that the best perturbation fills where the loss is linear: the steepest, one after the
        other, until the radius is used up. Fewer would be full before it is; docs/balls.md says what others leave.
        """
        finite = gradient.flatten(1).nan_to_num(0, 0, 0)
        room = torch.where(finite > 0, 1 - x.flatten(1), x.flatten(1))
        best = (finite.abs() * (room > 0)).sort(dim=1, descending=True, stable=True)
        wanted = room.gather(1, best.indices)
        before = wanted.cumsum(1, dtype=torch.float64) - wanted
        moves = finite.gather(1, best.indices).sign() * ((best.values > 0) & (before < self.eps))
        step = torch.zeros_like(finite).scatter_(1, best.indices, moves)
        return (step / step.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return p.flatten(1).abs().sum(1, dtype=torch.float64)

    def size_by_definition(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.tensor([math.fsum(map(abs, row)) for row in p.flatten(1).tolist()], dtype=torch.float64)


def _threshold(wanted: Tensor, room: Tensor, eps: float) -> Tensor:
    """λ of every row (N, 1): the sum of min(max(wanted - λ, 0), room) is eps, or smaller at λ = 0."""
    full = wanted.minimum(room).sum(1, keepdim=True)
    # beyond the first knot a pixel gives way, beyond the second it rests
    knots, order = torch.cat([(wanted - room).clamp_min(0), wanted], 1).sort(1)
    turns = torch.ones_like(wanted)
    moving = torch.cat([turns, -turns], 1).gather(1, order).cumsum(1)
    fallen = torch.cat([torch.zeros_like(full), (moving[:, :-1] * knots.diff(dim=1)).cumsum(1)], 1)
    sums = full - fallen
    piece = ((sums > eps).sum(1, keepdim=True) - 1).clamp_min(0)
    start, above, slope = (part.gather(1, piece) for part in (knots, sums, moving))
    threshold = start + (above - eps) / slope.clamp_min(1)
    return torch.where(full > eps, threshold, 0)
