"""The l-infinity ball: every pixel moves by at most eps (Goodfellow et al., 2015, arXiv:1412.6572)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from advbench.geometry import Geometry
from advbench.threats.threat import Threat

if TYPE_CHECKING:
    from advbench.draws import Draws


@dataclass(frozen=True)
class Linf(Threat):
    """Every pixel moves by at most eps.

    Perturbations are changes of pixels (N, C, H, W), added to the image.
    """

    name = "linf"
    offers: ClassVar[Geometry] = Geometry.START | Geometry.ASCENT | Geometry.PIXELS
    norm: ClassVar[str] = "linf"
    convex: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True
    shareable: ClassVar[bool] = True
    levels: ClassVar[bool] = True
    # a perturbation stored as `image - x` is off by a rounding of the image, 6e-8
    tolerance: ClassVar[float] = 1e-6

    eps: float = 8 / 255

    def farthest(self, shape: tuple[int, ...]) -> float:
        return 1.0

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        # uniform over ball and box together: clipping a draw would leave half of a black image's pixels unmoved
        low, high = self.bounds(x)
        return low + (high - low) * draws.uniform(*x.shape[1:], dtype=x.dtype)

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        return x + p

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return p.clamp(-self.eps, self.eps).clamp(-x, 1 - x)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (-x).clamp_min(-self.eps), (1 - x).clamp_max(self.eps)

    def shrink(self, p: Tensor) -> Tensor:
        return p.clamp(-self.eps, self.eps)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return gradient.sign().nan_to_num_(0)

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return p.flatten(1).abs().amax(1)
