"""Rotations and shifts (Engstrom et al., 2019, arXiv:1712.02779): about the centre, bilinear, black outside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.geometry import Geometry
from advbench.parameters import written
from advbench.threats.radius import checked
from advbench.threats.threat import Threat

if TYPE_CHECKING:
    from advbench.draws import Draws


@dataclass(frozen=True)
class RotateShift(Threat):
    """Rotations and shifts about the centre, within limits of both.

    Perturbations (N, 3): angle counter-clockwise, shift right, shift down, as fractions of the limits.
    """

    name = "rotate-shift"
    offers: ClassVar[Geometry] = Geometry.START | Geometry.ASCENT
    convex: ClassVar[bool] = True
    # coordinates are three numbers of order 1, stored as they are: only their own rounding is to be forgiven
    tolerance: ClassVar[float] = 1e-6

    eps: float = 1.0
    degrees: float = 30.0
    pixels: float = 3.0

    def __post_init__(self) -> None:
        checked(self.name, eps=self.eps, degrees=self.degrees, pixels=self.pixels)

    @property
    def radius(self) -> str:
        return f"{self.degrees * self.eps:.10g}°,{self.pixels * self.eps:.10g}px"

    @property
    def family(self) -> str:
        # both limits, not their ratio: they are the unit of the coordinates, which other limits would read differently
        return f"{self.name}(degrees={written(self.degrees)}, pixels={written(self.pixels)})"

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 3)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        return draws.uniform(3, low=-self.eps, high=self.eps, dtype=x.dtype)

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        turn, right, down = p.T[..., None, None]
        angle, right, down = turn * math.radians(self.degrees), right * self.pixels, down * self.pixels
        # seen from the centre, in pixels: an oblong image turns rigidly, and a whole shift stays a whole number
        across = torch.arange(width, device=x.device, dtype=p.dtype) - (width - 1) / 2 - right
        along = (torch.arange(height, device=x.device, dtype=p.dtype) - (height - 1) / 2).unsqueeze(1) - down
        cosine, sine = angle.cos(), angle.sin()
        # `grid_sample` wants fractions of the image; with a power of two for its sides they are exact for whole
        # pixels, so the identity gives the image back bit by bit, and black rows more change nothing
        wide, tall = _power_of_two(width), _power_of_two(height)
        # in place, and as two planes: twice as fast as new tensors that hold the two coordinates by turns
        column = (cosine * across - sine * along).add_((width - 1) / 2).add_(0.5).mul_(2 / wide).sub_(1)
        row = (sine * across + cosine * along).add_((height - 1) / 2).add_(0.5).mul_(2 / tall).sub_(1)
        grid = torch.stack((column, row), 1).permute(0, 2, 3, 1)
        padded = F.pad(x, (0, wide - width, 0, tall - height))
        return F.grid_sample(padded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return p.clamp(-self.eps, self.eps)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return gradient.sign().nan_to_num_(0)

    def words(self, x: Tensor, p: Tensor) -> list[str]:
        amounts = p.double() * p.new_tensor([self.degrees, self.pixels, self.pixels]).double()
        return [
            f"turned by {abs(turn):.1f}° {'counter-clockwise' if turn >= 0 else 'clockwise'}, "
            f"shifted {abs(right):.2f} px {'right' if right >= 0 else 'left'} "
            f"and {abs(down):.2f} px {'down' if down >= 0 else 'up'}"
            for turn, right, down in amounts.tolist()
        ]

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return p.abs().amax(1)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
