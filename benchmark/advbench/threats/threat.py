"""What a threat is: a ball around each image, in coordinates of its own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from torch import Tensor

from advbench.geometry import Geometry
from advbench.plugin import Plugin
from advbench.threats.radius import checked, too_far, written_radius

if TYPE_CHECKING:
    from advbench.draws import Draws


@dataclass(frozen=True)
class Threat(Plugin, ABC):
    """A ball of radius `eps`. Perturbations `p` are batches (N, …) in the threat's coordinates, x is (N, C, H, W).

    Every method works per example: no row depends on its neighbours. Nothing writes into its arguments.
    """

    unbounded: ClassVar[bool] = False
    """Whether an infinite radius makes sense, so that minimal-norm attacks can search it."""
    shareable: ClassVar[bool] = False
    """Whether one row of perturbations, applied to any number of images, means the same for all: see `shrink`."""
    offers: ClassVar[Geometry] = Geometry.NOTHING
    """What attacks may count on that know nothing else about it; it is the ball's to say where they make sense."""
    norm: ClassVar[str] = ""
    """The norm of the change of pixels that sizes are, where they are one: `linf` or `l2`, or another's."""
    convex: ClassVar[bool] = False
    """Whether what is inside is a convex set and `project` its nearest point in the plain distance of coordinates."""
    levels: ClassVar[bool] = False
    """Whether sizes are changes of pixels, which other tools count in levels of 255."""
    tolerance: ClassVar[float]
    """How far beyond eps the referee lets float rounding go, in units of size (relative to max(eps, 1))."""

    eps: float

    def __post_init__(self) -> None:
        """A ball with more numbers than its radius checks those, too."""
        super().__post_init__()
        checked(self.name, unbounded=self.unbounded, eps=self.eps)

    @property
    def radius(self) -> str:
        """The radius as it stands in a board's name: `0.3`; a ball of several numbers writes them: `30°,3px`."""
        return written_radius(self.eps)

    @property
    def family(self) -> str:
        """Everything but the radius: cells of one family can be judged at each other's radii."""
        return self.name

    def at(self, eps: float) -> Self:
        """This ball with another radius."""
        return replace(self, eps=eps)

    def farthest(self, shape: tuple[int, ...]) -> float:
        """The size that no perturbation of an image of this shape exceeds; infinite where there is no such size."""
        return math.inf

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        """A reason why nobody means this radius for images of this shape, or None."""
        return too_far(self.name, self.eps, self.farthest(shape), self.levels)

    @abstractmethod
    def identity(self, x: Tensor) -> Tensor:
        """The perturbation that changes nothing."""

    @abstractmethod
    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """A random perturbation inside the ball."""

    @abstractmethod
    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        """The perturbed images, differentiable in p; not clipped."""

    @abstractmethod
    def project(self, x: Tensor, p: Tensor) -> Tensor:
        """The nearest perturbation whose size is at most eps and whose image lies in [0, 1]."""

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """The lowest and highest perturbations of images, where `project` is a clamp between them; else None."""
        return None

    def shrink(self, p: Tensor) -> Tensor:
        """The nearest perturbations whose size is at most eps, whatever the image; only where `shareable`."""
        raise NotImplementedError(f"{self.name}: every image has perturbations of its own")

    @abstractmethod
    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The unit step along which a linear function with this gradient grows fastest; zero where it is zero."""

    @abstractmethod
    def size(self, x: Tensor, p: Tensor) -> Tensor:
        """How large each perturbation is, in units of eps."""

    def size_by_definition(self, x: Tensor, p: Tensor) -> Tensor | None:
        """What `size` gives, computed plainly, however slowly, for the conformance kit; None where `size` is plain."""
        return None

    def coordinates(self, x: Tensor, p: Tensor) -> Tensor:
        """How far each p is from being a perturbation at all (a plan whose rows don't sum to the image, say)."""
        return x.new_zeros(len(x))

    def words(self, x: Tensor, p: Tensor) -> list[str]:
        """What each perturbation does, in words a reader understands; empty where a picture says it all."""
        return []

    def moved(self, x: Tensor, p: Tensor) -> Tensor | None:
        """(N, 2, H, W) how much mass leaves each pixel downwards and to the right; None where nothing travels."""
        return None

    def pack(self, x: Tensor, p: Tensor) -> dict[str, Tensor]:
        """What to store so that the perturbations can be judged again, losslessly."""
        return {"p": p}

    def unpack(self, x: Tensor, stored: dict[str, Tensor]) -> Tensor:
        """The perturbations that were stored as the tensors of `pack`."""
        return stored["p"]
