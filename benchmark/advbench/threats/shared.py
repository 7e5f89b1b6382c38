"""A ball for one perturbation that a whole set of images shares (Moosavi-Dezfooli et al., 2017, arXiv:1610.08401)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from torch import Tensor

from advbench.geometry import Geometry
from advbench.threats.threat import Threat

if TYPE_CHECKING:
    from advbench.draws import Draws


@dataclass(frozen=True)
class Shared(Threat):
    """Perturbations are one row (1, …) in the ball's coordinates, or a row per image while one is searched.

    Images are clipped to [0, 1] when it is applied; its size is its own, whatever clipping leaves of it.
    """

    # one vector, measured by itself and never taken as a difference of images
    tolerance: ClassVar[float] = 1e-6

    ball: Threat

    def __post_init__(self) -> None:
        """Skips the parameters' checks, since the wrapped ball has passed them."""

    @classmethod
    def of(cls, ball: Threat) -> Shared:
        return cls(ball.eps, ball)

    @property
    def name(self) -> str:  # type: ignore[override]  # the ball's own
        return self.ball.name

    @property
    def norm(self) -> str:  # type: ignore[override]  # the ball's own
        return self.ball.norm

    @property
    def offers(self) -> Geometry:  # type: ignore[override]  # the ball's own
        return self.ball.offers

    @property
    def radius(self) -> str:
        return self.ball.radius

    @property
    def family(self) -> str:
        return self.ball.family

    def at(self, eps: float) -> Self:
        return type(self)(eps, self.ball.at(eps))

    def identity(self, x: Tensor) -> Tensor:
        return self.ball.identity(x.new_zeros(1, *x.shape[1:]))

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """A random direction, as far as the ball goes and at most as far as pixels do."""
        nothing = self.identity(x)
        direction = self.ball.steepest(nothing, draws.normal(*nothing.shape[1:], dtype=x.dtype)[:1])
        return self.ball.shrink(direction * min(self.eps, 1.0))

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        """Gradients pass through the clip: what is cut off in one image is not cut off in all.

        Else a pixel that is below 0 for most images would hear from the others alone, and never come back.
        """
        moved = self.ball.apply(x, p)
        return moved.detach().clamp(0, 1) + (moved - moved.detach())

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return self.ball.shrink(p)

    def shrink(self, p: Tensor) -> Tensor:
        return self.ball.shrink(p)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return self.ball.steepest(x, gradient)

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        sizes = self.ball.size(x, p)
        return sizes.expand(len(x)) if len(sizes) == 1 else sizes
