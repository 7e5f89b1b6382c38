"""l1-Square: random search by answers alone (after Croce and Hein, 2021, arXiv:2103.01208, and Square, 1912.00049).

As in Square for l2, what a window held and what is left of the radius goes into another window, if the goal is nearer
then. Three things differ, which make it stronger (docs/balls.md): the window that is emptied lies where something has
changed, since elsewhere it frees next to nothing; the new hill is so steep that it is a few pixels, each changed by all
that it can; and the box is minded where Square cuts at it: what one pixel has no room for goes to the next. Of a colour
image, half of the hills stand in a single channel: what all three take up is lost to two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advbench import Access, Attack, Problem, at_least, between

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After how many of 10,000 queries the windows' share of the image is halved; of other schedules, in proportion."""
FALL = 16
"""Heights fall with this power of the distance from a hill's centre; 2 would change all of a window by little."""
SPARE = 1e-6
"""The share of the radius that stays unused, so that rounding to float32 leaves nobody outside."""
TINY = 1e-300


@dataclass(frozen=True)
class L1Square(Attack):
    """Random search in l1: windows of pixels exchange what they change by."""

    name: ClassVar[str] = "l1-square"
    reference: ClassVar[str] = "https://arxiv.org/abs/2103.01208"
    threats: ClassVar[frozenset[str]] = frozenset({"l1"})
    needs: ClassVar[Access] = Access.LOGITS
    beyond_gradients: ClassVar[bool] = True
    trial: ClassVar = {"queries": 100}

    queries: int = at_least(1, default=5000)
    p_init: float = between(0, 1, default=0.8)  # the first windows' share of the image
    proposals: int = at_least(1, default=4)  # tried on the same image in one pass; 1 is the paper's algorithm

    def passes(self, classes: int) -> int:
        return self.queries

    def perturb(self, problem: Problem) -> Tensor:
        x = problem.images
        height, width = x.shape[-2:]
        eps = (1 - SPARE) * min(problem.eps, float(x[0].numel()))
        p = filled(x, tiles(problem), torch.full_like(x[:, 0, 0, 0], eps, dtype=torch.float64))
        best = problem.goal.margin(problem.logits(p)).nan_to_num(-torch.inf)
        for asked in range(1, self.queries - self.proposals + 1, self.proposals):
            if problem.done:
                break
            side = self.side(asked, height, width)
            numbers = problem.draws.uniform(self.proposals, 4 + x.shape[1], dtype=x.dtype)
            of = problem.active
            rows = of.repeat_interleave(self.proposals)
            tried = proposed(x[rows], p[rows], eps, side, numbers[of].flatten(0, 1))
            margin = problem.goal[rows].margin(problem.logits(tried, rows)).nan_to_num(-torch.inf)
            margin, place = margin.view(-1, self.proposals).max(1)
            better = margin > best[of]
            best[of] = torch.where(better, margin, best[of])
            chosen = tried[place + torch.arange(0, len(rows), self.proposals, device=place.device)]
            p[of] = torch.where(better.view(-1, 1, 1, 1), chosen, p[of])
        return problem.project(p)

    def side(self, asked: int, height: int, width: int) -> int:
        """Of a window at this query."""
        share = self.p_init * math.pow(0.5, sum(asked * 10_000 > mark * self.queries for mark in HALVINGS))
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def tiles(problem: Problem) -> Tensor:
    """A pattern for the start: a grid of hills and hollows."""
    channels, height, width = problem.images.shape[1:]
    side = min(max(min(height, width) // 5, 3), height, width)
    down, across = -(-height // side), -(-width // side)
    signs = problem.draws.sign(channels, down, 1, across, 1, dtype=torch.float64)
    whole = (signs * hill(side, signs).view(side, 1, side)).reshape(-1, channels, down * side, across * side)
    return whole[..., :height, :width]


def proposed(x: Tensor, p: Tensor, eps: float, side: int, numbers: Tensor) -> Tensor:
    """Perturbations of which one window has lost what it held to another one, where a new hill or hollow stands."""
    box, flat = x.flatten(2), p.flatten(2).clone()
    there = around(changed(flat, numbers[:, 0]), side, p)
    here = window(numbers[:, 1], numbers[:, 2], side, p)
    held = flat.gather(2, here)
    flat.scatter_(2, there, 0).scatter_(2, here, 0)
    freed = eps - flat.flatten(1).abs().sum(1, dtype=torch.float64)
    shape = colours(numbers[:, 3:]).unsqueeze(2) * hill(side, p).flatten()
    shape = shape + held / held.flatten(1).abs().sum(1, dtype=torch.float64).clamp_min(TINY).view(-1, 1, 1)
    return flat.scatter_(2, here, filled(box.gather(2, here), shape, freed)).view_as(p)


def colours(numbers: Tensor) -> Tensor:
    """(N, C) 1 or -1 for a hill or a hollow in a channel; for half of the rows in one alone, and 0 in the others."""
    signs = torch.where(numbers[:, 1:] > 0.5, 1, -1)
    channels = signs.shape[1]
    only = (numbers[:, :1] * 2 * channels).long()
    return signs * ((only >= channels) | (only == torch.arange(channels, device=only.device)))


def changed(flat: Tensor, numbers: Tensor) -> Tensor:
    """A pixel of each row, drawn in proportion to its change by a number from 0 to 1."""
    worth = flat.abs().sum(1, dtype=torch.float64).cumsum(1)
    return torch.searchsorted(worth, numbers.view(-1, 1) * worth[:, -1:]).squeeze(1)


def around(pixel: Tensor, side: int, like: Tensor) -> Tensor:
    """The places of a square with this pixel at its centre, or as near to that as the image allows."""
    height, width = like.shape[-2:]
    top = (pixel // width - side // 2).clamp(0, height - side)
    left = (pixel % width - side // 2).clamp(0, width - side)
    return places(top, left, side, like)


def window(down: Tensor, right: Tensor, side: int, like: Tensor) -> Tensor:
    """The places of a square whose corner is drawn by numbers from 0 to 1."""
    height, width = like.shape[-2:]
    # a product may round up to the number of places
    top = (down * (height - side + 1)).long().clamp_max(height - side)
    left = (right * (width - side + 1)).long().clamp_max(width - side)
    return places(top, left, side, like)


def places(top: Tensor, left: Tensor, side: int, like: Tensor) -> Tensor:
    """(N, C, side²) where a square's pixels lie in flat images, from its corner."""
    channels, _, width = like.shape[1:]
    steps = torch.arange(side, device=top.device)
    inner = (steps.view(-1, 1) * width + steps).view(1, 1, -1)
    return ((top * width + left).view(-1, 1, 1) + inner).expand(-1, channels, -1)


def hill(side: int, like: Tensor) -> Tensor:
    """(side, side) of sum 1, highest in the centre."""
    away = (torch.arange(side, device=like.device) - (side - 1) / 2).abs()
    heights = (torch.maximum(away.view(-1, 1), away) + 1).double() ** -FALL
    return heights / heights.sum()


def filled(x: Tensor, shape: Tensor, amount: Tensor) -> Tensor:
    """Changes in proportion to `shape` as far as the box allows, and together as large as `amount` where it can be.

    A pixel without any room on its side turns to the other.
    """
    shape = torch.where(torch.where(shape > 0, 1 - x, x) > 0, shape, -shape)
    room = torch.where(shape > 0, 1 - x, x).flatten(1).double()
    rise = shape.flatten(1).abs().double()
    # all rise together; those that are full first, and what the others are worth by then
    full, order = (room / rise.clamp_min(TINY)).sort(1)
    nothing = torch.zeros_like(full[:, :1])
    resting = torch.cat([nothing, room.gather(1, order).cumsum(1)], 1)
    rising = torch.cat([rise.gather(1, order).flip(1).cumsum(1).flip(1), nothing], 1)
    worth = resting[:, 1:] + rising[:, 1:] * full
    piece = (worth < amount.view(-1, 1)).sum(1, keepdim=True)
    time = (amount.view(-1, 1) - resting.gather(1, piece)) / rising.gather(1, piece).clamp_min(TINY)
    height = (rise * time.clamp_min(0)).minimum(room)
    height = torch.where(piece == full.shape[1], room, height)
    return (height.view_as(x) * shape.sign()).to(x.dtype)
