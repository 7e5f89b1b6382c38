"""A square of any content at any place (Brown et al., 2017, arXiv:1712.09665), one for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advbench import Draws, Geometry, Threat


@dataclass(frozen=True)
class Patch(Threat):
    """A square of pixels of any content at any place; the radius is its side in pixels.

    Perturbations are changes of pixels (N, C, H, W), added to the image. The size is the side of the smallest square
    that holds all that has changed: nobody has to say where the patch lies, and nobody can say it wrongly.
    """

    name = "patch"
    reference: ClassVar[str] = "https://arxiv.org/abs/1712.09665"
    offers: ClassVar[Geometry] = Geometry.START | Geometry.ASCENT | Geometry.PIXELS
    # sides are whole numbers, and what has not changed is 0 to the last bit
    tolerance: ClassVar[float] = 1e-6

    eps: float = 5.0

    @property
    def side(self) -> int:
        """The side of the square in whole pixels, rounded down."""
        return int(self.eps)

    def farthest(self, shape: tuple[int, ...]) -> float:
        return float(max(shape[-2:]))

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform pixels in the box, at a place drawn from all."""
        grey = draws.uniform(*x.shape[1:], dtype=x.dtype)
        tall, wide = self.places(x)
        return self.cut(grey - x, draws.integers(tall * wide))

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        return x + p

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        """Of all places the one at which most of p is kept: what lies outside it, and beyond the box, is given up."""
        boxed = p.clamp(-x, 1 - x)
        # the square of the distance falls by p² - (p - boxed)² wherever a pixel lies inside; in a form that can't round
        kept = (boxed * (2 * p - boxed)).sum(1, keepdim=True, dtype=torch.float64)
        return self.cut(boxed, self.held(kept).argmax(1)) if self.side else torch.zeros_like(p)

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """All pixels by the sign of the gradient, and twice as far in the square that it likes best.

        From the image the projection then goes to that square; from elsewhere it keeps the square where it is, and the
        content climbs there.
        """
        finite = gradient.nan_to_num(0, 0, 0)
        if not self.side:
            return torch.zeros_like(gradient)
        room = torch.where(finite > 0, 1 - x, x)
        gain = (finite.abs() * room).sum(1, keepdim=True, dtype=torch.float64)
        uphill = finite.sign() / 2
        return uphill + self.cut(uphill, self.held(gain).argmax(1))

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        changed = (p != 0).any(1)
        sides = (_span(changed.any(2)), _span(changed.any(1)))
        return torch.maximum(*sides).double()

    def size_by_definition(self, x: Tensor, p: Tensor) -> Tensor:
        """The smallest square is tried, place by place, until one holds every change."""
        sides = []
        for row in (p != 0).any(1).tolist():
            places = [
                (down, across) for down, line in enumerate(row) for across, is_there in enumerate(line) if is_there
            ]
            side = 0
            while not _some_square_holds(places, side):
                side += 1
            sides.append(float(side))
        return torch.tensor(sides, dtype=torch.float64)

    # What an attack that knows this ball asks

    def window(self, x: Tensor) -> tuple[int, int]:
        """How tall and wide the square is where the image is smaller than it."""
        return min(self.side, x.shape[-2]), min(self.side, x.shape[-1])

    def places(self, x: Tensor) -> tuple[int, int]:
        """How many places there are, downwards and across."""
        tall, wide = self.window(x)
        return x.shape[-2] - tall + 1, x.shape[-1] - wide + 1

    def held(self, amount: Tensor) -> Tensor:
        """(N, places) of an amount a pixel (N, 1, H, W), how much of it a square at each place holds."""
        tall, wide = self.window(amount)
        # sums over rows, then over columns: each place adds the same numbers in the same order, whoever is beside it
        rows = amount.unfold(2, tall, 1).sum(-1)
        return rows.unfold(3, wide, 1).sum(-1).flatten(1)

    def cut(self, p: Tensor, place: Tensor) -> Tensor:
        """What of p lies in the square at each row's place."""
        (tall, wide), across = self.window(p), self.places(p)[1]
        top, left = (place // across).view(-1, 1), (place % across).view(-1, 1)
        down, right = (torch.arange(side, device=p.device) for side in p.shape[-2:])
        rows = (down >= top) & (down < top + tall)
        columns = (right >= left) & (right < left + wide)
        return torch.where((rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1), p, 0)


def _span(some: Tensor) -> Tensor:
    """From the first to the last that is true (N, L), both counted; 0 where none is."""
    length = some.shape[1]
    place = torch.arange(length, device=some.device)
    first = torch.where(some, place, length).amin(1)
    last = torch.where(some, place, -1).amax(1)
    return (last - first + 1).clamp_min(0)


def _some_square_holds(places: list[tuple[int, int]], side: int) -> bool:
    corners = {(down, across) for down, _ in places for _, across in places}
    return not places or any(
        all(0 <= down - top < side and 0 <= across - left < side for down, across in places) for top, left in corners
    )
