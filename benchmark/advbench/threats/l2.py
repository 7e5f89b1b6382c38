"""The l2 ball: all pixels together move by at most eps (Szegedy et al., 2014, arXiv:1312.6199)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from advbench.geometry import Geometry
from advbench.pace import may_wait
from advbench.threats.threat import Threat

if TYPE_CHECKING:
    from advbench.draws import Draws

ROUNDS = 60
UNASKED = 4
"""The last round where nobody may look whether it is needed: on digits the fourth has never changed a bit."""


@dataclass(frozen=True)
class L2(Threat):
    """All pixels together move by at most eps, in Euclidean length.

    Perturbations are changes of pixels (N, C, H, W), added to the image.
    """

    name = "l2"
    offers: ClassVar[Geometry] = Geometry.START | Geometry.ASCENT | Geometry.PIXELS
    norm: ClassVar[str] = "l2"
    convex: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True
    shareable: ClassVar[bool] = True
    levels: ClassVar[bool] = True
    # a perturbation taken as `image - x` is off by up to 6e-8 a pixel, 1e-5 over the pixels of a photograph
    tolerance: ClassVar[float] = 1e-5

    eps: float = 0.5

    def farthest(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(math.prod(shape))

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        if math.isinf(self.eps):
            return draws.uniform(*x.shape[1:], dtype=x.dtype) - x
        direction = self.steepest(x, draws.normal(*x.shape[1:], dtype=x.dtype))
        # uniform in the volume of the ball; a root by `exp`, since `pow` rounds otherwise in another company
        distance = (draws.uniform(1, 1, 1, dtype=x.dtype).log() / math.prod(x.shape[1:])).exp()
        return self.project(x, direction * (distance * self.eps))

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        return x + p

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        """The nearest point of ball and box is `clip(shrink * p)` for one number an image, found by Newton steps.

        The square of the clipped length is concave in the square of the shrink factor, so the steps approach from
        inside: wherever they stop, the point is in the ball.
        """
        low, high = (-x).flatten(1), (1 - x).flatten(1)
        boxed = p.flatten(1).clamp(low, high)
        if math.isinf(self.eps):
            return boxed.view_as(x)
        outside = _length(boxed) > self.eps
        length = _length(p.flatten(1))
        # unit length: no square can overflow
        unit = p.flatten(1) / length.clamp_min(torch.finfo(p.dtype).tiny).to(p.dtype)
        reach = length.clamp_max(self.eps)
        squares = unit.square()
        waits = may_wait(p.device)
        for turn in range(ROUNDS):
            moved = unit * reach.to(p.dtype)
            clipped = moved.clamp(low, high)
            # products with a mask of ones: several times as fast as `where` on a CPU
            loose = torch.eq(clipped, moved, out=moved).mul_(squares).sum(1, keepdim=True).double()
            fixed = clipped.square_().sum(1, keepdim=True).double() - reach.square() * loose
            further = ((self.eps**2 - fixed).clamp_min(0) / loose).sqrt().nan_to_num(0)
            further = torch.maximum(reach, torch.minimum(further, length))
            grows = outside & (further > reach * (1 + torch.finfo(p.dtype).eps))
            if (waits and not bool(grows.any())) or (not waits and turn == UNASKED):
                break
            reach = torch.where(grows, further, reach)
        shrunk = self.shrink((unit * reach.to(p.dtype)).clamp(low, high))
        return torch.where(outside, shrunk, boxed).view_as(x)

    def shrink(self, p: Tensor) -> Tensor:
        excess = self.eps / _length(p.flatten(1)).clamp_min(torch.finfo(p.dtype).tiny)
        # a factor rounds, and so does every product: some roundings less keep the length within eps
        factor = torch.where(excess < 1, excess * (1 - 4 * torch.finfo(p.dtype).eps), 1).to(p.dtype)
        return p * factor.view(-1, *[1] * (p.ndim - 1))

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        finite = gradient.flatten(1).nan_to_num(0)
        # first by the largest entry: a square of 1e-30 would be 0, of 1e30 infinite
        peak = finite.abs().amax(1, keepdim=True)
        scaled = finite / torch.where(peak > 0, peak, 1)
        length = _length(scaled)
        return (scaled / torch.where(length > 0, length, 1).to(scaled.dtype)).view_as(gradient)

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return _length(p.flatten(1)).squeeze(1)


def _length(rows: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
    return length
