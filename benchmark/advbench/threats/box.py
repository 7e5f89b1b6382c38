"""Any image at all: where unrecognisable images that a network is sure of are looked for (Nguyen et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from advbench.threats.threat import Threat

if TYPE_CHECKING:
    from advbench.draws import Draws


@dataclass(frozen=True)
class Box(Threat):
    """Any image at all, or any whose pixels are within eps of the example's.

    Perturbations are images (N, C, H, W), put in the place of the example.
    The size is the largest change of a pixel, so the radius 1 lets every image in; what is stored is the image itself.
    """

    name = "box"
    # no geometry is offered: every image is inside, so that what begins at the example and keeps near it asks nothing
    convex: ClassVar[bool] = True
    levels: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-6

    eps: float = 1.0

    def farthest(self, shape: tuple[int, ...]) -> float:
        return 1.0

    def identity(self, x: Tensor) -> Tensor:
        return x.clone()

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        low, high = self.bounds(x)
        return low + (high - low) * draws.uniform(*x.shape[1:], dtype=x.dtype)

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        return p

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return p.clamp(*self.bounds(x))

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return gradient.sign().nan_to_num_(0)

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return (p - x).flatten(1).abs().amax(1)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.eps).clamp_min(0), (x + self.eps).clamp_max(1)
