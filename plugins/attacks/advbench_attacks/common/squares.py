"""The squares of Square (Andriushchenko et al., 2020, arXiv:1912.00049): what is painted in either ball.

Images are flat, (examples, channels, pixels), and every row is painted by its own numbers from 0 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

TINY = 1e-12


@dataclass(frozen=True)
class Patch:
    """Places (N, channels, K) in flat images, and what is painted there."""

    where: Tensor
    colours: Tensor


class Squares(Protocol):
    """What a ball contributes: images flat as (examples, channels, pixels), every example drawing from its own row."""

    @property
    def numbers(self) -> int:
        """How many uniform numbers a proposal takes."""

    @property
    def start_numbers(self) -> int:
        """How many uniform numbers the start takes."""

    def __getitem__(self, rows: Tensor) -> Squares: ...

    def start(self, numbers: Tensor) -> Tensor:
        """The perturbations that the search begins with."""

    def side(self, share: float) -> int:
        """The side of a square that covers this share of the image."""

    def propose(self, p: Tensor, side: int, numbers: Tensor) -> list[Patch]:
        """The patches of a proposal, later ones painted over earlier ones."""


@dataclass(frozen=True)
class LinfSquares:
    """Every pixel is as dark or as bright as the ball lets it be."""

    low: Tensor
    high: Tensor
    height: int
    width: int

    @classmethod
    def of(cls, x: Tensor, eps: float) -> LinfSquares:
        low, high = (-x).clamp_min(-eps), (1 - x).clamp_max(eps)
        return cls(low.flatten(2), high.flatten(2), *x.shape[2:])

    def __getitem__(self, rows: Tensor) -> LinfSquares:
        return LinfSquares(self.low[rows], self.high[rows], self.height, self.width)

    @property
    def numbers(self) -> int:
        return 2 + self.low.shape[1]

    @property
    def start_numbers(self) -> int:
        return self.low.shape[1] * self.width

    def start(self, numbers: Tensor) -> Tensor:
        """Vertical stripes, one pixel wide."""
        bright = (numbers > 0.5).view(len(numbers), -1, 1, self.width).expand(-1, -1, self.height, -1)
        return torch.where(bright.flatten(2), self.high, self.low)

    def side(self, share: float) -> int:
        return min(max(round(math.sqrt(share * self.height * self.width)), 1), self.height, self.width)

    def propose(self, p: Tensor, side: int, numbers: Tensor) -> list[Patch]:
        """One square of one colour a channel."""
        where = window(numbers[:, 0], numbers[:, 1], side, self.height, self.width).expand(-1, p.shape[1], -1)
        low, high = self.low.gather(2, where), self.high.gather(2, where)
        bright = (numbers[:, 2:] > 0.5).unsqueeze(2)
        same = (torch.where(bright, high, low) == p.gather(2, where)).flatten(1).all(1).view(-1, 1, 1)
        return [Patch(where, torch.where(bright ^ same, high, low))]


def window(down: Tensor, right: Tensor, side: int, height: int, width: int) -> Tensor:
    """The places (N, 1, side²) of the pixels of a square whose corner is drawn by numbers from 0 to 1."""
    # a product may round up to the number of places
    top = (down * (height - side + 1)).long().clamp_max_(height - side)
    left = (right * (width - side + 1)).long().clamp_max_(width - side)
    steps = torch.arange(side, device=down.device)
    inner = (steps.view(-1, 1) * width + steps).view(1, 1, -1)
    return (top * width + left).view(-1, 1, 1) + inner


@dataclass(frozen=True)
class L2Squares:
    """Hills and hollows, with as much of the radius as the rest of the image leaves over."""

    low: Tensor
    high: Tensor
    eps: float
    height: int
    width: int

    @classmethod
    def of(cls, x: Tensor, eps: float) -> L2Squares:
        # nothing in the box is further away than the square root of its pixels
        # and a little less than the radius: rounded to float32, half of the lengths would be judged too long
        eps = (1 - 1e-5) * min(eps, x[0].numel() ** 0.5)
        return cls((-x).flatten(2), (1 - x).flatten(2), eps, x.shape[2], x.shape[3])

    def __getitem__(self, rows: Tensor) -> L2Squares:
        return L2Squares(self.low[rows], self.high[rows], self.eps, self.height, self.width)

    @property
    def numbers(self) -> int:
        """The corners of two windows, which way the hills stand, and a sign a channel."""
        return 5 + self.low.shape[1]

    @property
    def _tiles(self) -> tuple[int, int, int]:
        """The side of the tiles of the start, and how many stand below and beside each other."""
        side = min(max(min(self.height, self.width) // 5, 3), self.height, self.width)
        return side, self.height // side, self.width // side

    @property
    def start_numbers(self) -> int:
        _, down, across = self._tiles
        return (1 + self.low.shape[1]) * down * across

    def start(self, numbers: Tensor) -> Tensor:
        """A grid of tiles, each with hill and hollow one way round or the other."""
        side, down, across = self._tiles
        upright = _hills(side, self.low.device, self.low.dtype)
        drawn = (numbers > 0.5).view(len(numbers), -1, down, 1, across, 1)
        tiles = torch.where(drawn[:, :1], upright.view(1, 1, 1, side, 1, side), upright.T.view(1, 1, 1, side, 1, side))
        tiles = torch.where(drawn[:, 1:], tiles, -tiles).reshape(len(numbers), -1, down * side, across * side)
        top, left = (self.height - down * side) // 2, (self.width - across * side) // 2
        image = self.low.new_zeros(*self.low.shape[:2], self.height, self.width)
        image[:, :, top : top + down * side, left : left + across * side] = tiles
        return self._inside(image.flatten(2))

    def side(self, share: float) -> int:
        """Odd, so that a hill has a top, and at least 3."""
        side = max(round(math.sqrt(share * self.height * self.width)), 3)
        return min(side + (side % 2 == 0), self.height, self.width)

    def propose(self, p: Tensor, side: int, numbers: Tensor) -> list[Patch]:
        """One window is cleared, and what it held goes into another, together with a hill and a hollow."""
        channels = p.shape[1]
        here = window(numbers[:, 0], numbers[:, 1], side, self.height, self.width).expand(-1, channels, -1)
        there = window(numbers[:, 2], numbers[:, 3], side, self.height, self.width).expand(-1, channels, -1)
        held, other = p.gather(2, here), p.gather(2, there)
        # pixels of both windows count once
        down, across = (
            (there // self.width - here[..., :1] // self.width),
            there % self.width - here[..., :1] % self.width,
        )
        apart = (down < 0) | (down >= side) | (across < 0) | (across >= side)
        freed = held.square().sum(2, keepdim=True) + other.mul(apart).square().sum(2, keepdim=True)
        unspent = (self.eps**2 - p.flatten(1).norm(dim=1).square()).clamp_min(0).view(-1, 1, 1)
        length = (freed + unspent / channels).sqrt()
        upright = _hills(side, p.device, p.dtype)
        hills = torch.where(numbers[:, 4:5] > 0.5, upright.flatten(), upright.T.flatten()).unsqueeze(1)
        new = torch.where((numbers[:, 5:] > 0.5).unsqueeze(2), hills, -hills)
        new = new + held / held.flatten(1).norm(dim=1).clamp_min(TINY).view(-1, 1, 1)
        new = new * (length / new.norm(dim=2, keepdim=True).clamp_min(TINY))
        new = new.clamp(self.low.gather(2, here), self.high.gather(2, here))
        return [Patch(there, torch.zeros_like(other)), Patch(here, new)]

    def _inside(self, p: Tensor) -> Tensor:
        """As long as the radius, then cut by the box."""
        length: Tensor = torch.linalg.vector_norm(p.flatten(1), dim=1).clamp_min(TINY).view(-1, 1, 1)
        return (p * (self.eps / length)).clamp(self.low, self.high)


@cache
def _hills(side: int, device: torch.device, kind: torch.dtype) -> Tensor:
    """A hill in the left half of the square and a hollow in the right half, of length 1."""
    half = side // 2
    both = torch.cat([_hill(side, half), -_hill(side, side - half)], 1)
    unit: Tensor = both / torch.linalg.vector_norm(both)
    return unit.to(device, kind)


def _hill(height: int, width: int) -> Tensor:
    """Rings around the centre, each lower than the one inside: 1/1², 1/2², … summed from the edge."""
    down = (torch.arange(height, device="cpu") - height // 2).abs()
    across = (torch.arange(width, device="cpu") - width // 2).abs()
    ring = torch.maximum(down.view(-1, 1), across.view(1, -1))
    steps = torch.arange(max(height, width) // 2 + 1, device="cpu")
    heights: Tensor = (steps + 1.0).square().reciprocal().flip(0).cumsum(0).flip(0)
    return heights[ring]
