"""A start for attacks that see labels alone: the nearest of many images that reach the goal, pulled to the border.

Without a class to aim at, the papers draw uniform noise until one image is wrongly classified (Brendel et al., 2018,
arXiv:1712.04248; Chen et al., 2020, arXiv:1904.02144; Michels et al., 2019, arXiv:1906.03612). Some classifiers give
all noise one label, which is the right one for some images; so coarse noise, plain, turned and inverted images are
asked as well, and harsher noise where none of them is wrong. Towards a class, the papers start at an image of it: here
at held-out ones, those nearest to the example first, and noise is asked only where the network puts none of them
there. Where nothing reaches the goal, the start is the image itself, and the others of the batch go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Draws, Problem
from advbench_attacks.common.border import to_border

TOGETHER = 8
"""Images of one kind, which are asked in one pass."""
ROUNDS = 4
"""Of so many images from the bank, for who finds no start among the first."""
COARSE = 5
"""Bisections of every start, to tell which is the nearest."""


@dataclass(frozen=True)
class Start:
    """A perturbation for every row, and which of them reach the goal."""

    p: Tensor
    found: Tensor


def far_side(problem: Problem, who: Tensor, draws: Draws, *, bank: bool) -> Start:
    """The nearest start of every example in `who` that any kind of image leads to; with `bank`, held-out ones first."""
    search = Search(problem, who)
    aims = problem.goal.targeted
    if bank:
        search.offer_bank()
    for kind, needed in ((noise, aims), (blocks, aims), (relatives, aims), (salt, True), (blots, True)):
        rows = search.waiting if needed else torch.arange(len(who), device=who.device)
        if len(rows) == 0:
            draws.uniform(0)  # a stream must not depend on who else is looking for a start
            continue
        x = search.x[rows]
        search.offer(rows, kind(x, draws.uniform(TOGETHER, *x.shape[1:], dtype=x.dtype)[rows]))
    return Start(search.p, search.found)


def queries(*, bank: bool) -> int:
    """More than this costs no example; who aims pays less than without a bank, since one kind of start is enough."""
    return 5 * TOGETHER + 3 * TOGETHER * COARSE + (ROUNDS * TOGETHER + TOGETHER * COARSE if bank else 0)


class Search:
    """The best start that each example in `who` has been offered."""

    def __init__(self, problem: Problem, who: Tensor) -> None:
        self._problem, self._who = problem, who
        self.x = problem.images[who]
        self.p = torch.zeros_like(self.x)
        self._distance = self.x.new_full((len(who),), torch.inf)

    @property
    def found(self) -> Tensor:
        return self._distance < torch.inf

    @property
    def waiting(self) -> Tensor:
        """The rows for which no image on the far side has been found."""
        return (~self.found).nonzero().squeeze(1)

    def offer(self, rows: Tensor, images: Tensor) -> None:
        """Several images (R, K, …) for each of these rows."""
        near, length = _nearest(self._problem, images - self.x[rows].unsqueeze(1), self._who[rows])
        closer = length < self._distance[rows]
        self._distance[rows] = torch.where(closer, length, self._distance[rows])
        self.p[rows] = torch.where(closer.view(-1, 1, 1, 1), near, self.p[rows])

    def offer_bank(self) -> None:
        """Held-out images, those nearest to each image first, until the network says of some that they are there."""
        bank = self._problem.bank
        order = bank.nearest(self.x, self._problem.goal[self._who])
        for first in range(0, min(ROUNDS * TOGETHER, len(bank)), TOGETHER):
            rows = self.waiting
            if len(rows):
                self.offer(rows, bank.images(order[rows, first : first + TOGETHER]).to(self.x.dtype))


def _nearest(problem: Problem, q: Tensor, who: Tensor) -> tuple[Tensor, Tensor]:
    """Of several perturbations an example (N, K, …), the one with the nearest border, there, and how far that is."""
    flat, of = q.flatten(0, 1), who.repeat_interleave(q.shape[1])
    wrong = problem.reached(flat, of).nonzero().squeeze(1)
    pulled = to_border(problem, flat[wrong], of[wrong], COARSE)
    length = flat.new_full((len(flat),), torch.inf)
    length[wrong] = problem.threat.size(problem.images[of[wrong]], pulled).to(length.dtype)
    flat = flat.index_copy(0, wrong, pulled).view_as(q)
    shortest, place = length.view(q.shape[:2]).min(1)
    return flat[torch.arange(len(q), device=q.device), place], shortest


def noise(x: Tensor, numbers: Tensor) -> Tensor:
    """Images of independent uniform pixels: the start that the papers use."""
    return numbers


def blocks(x: Tensor, numbers: Tensor) -> Tensor:
    """Squares of one grey, from small to half the image."""
    side = min(x.shape[-2:])
    return _coarse(numbers, [max(2, side * (1 + place) // (2 * TOGETHER)) for place in range(TOGETHER)])


def relatives(x: Tensor, numbers: Tensor) -> Tensor:
    """Black, white, grey and inverted, turned over, and shifted by half of the image."""
    half = [side // 2 for side in x.shape[-2:]]
    one_grey = [torch.full_like(x, grey) for grey in (0.0, 1.0, 0.5)]
    shifted = [x.roll(half[0], -2), x.roll(half[1], -1)]
    return torch.stack([*one_grey, 1 - x, x.flip(-1), x.flip(-2), *shifted], 1)


def salt(x: Tensor, numbers: Tensor) -> Tensor:
    """Images of black and white pixels, from few white ones to many."""
    return (numbers < torch.arange(1, TOGETHER + 1, device=x.device).view(-1, 1, 1, 1) / (TOGETHER + 1)).to(x.dtype)


def blots(x: Tensor, numbers: Tensor) -> Tensor:
    """Images of black and white squares, from small to half the image."""
    return (blocks(x, numbers) < 0.5).to(x.dtype)


def _coarse(numbers: Tensor, cells: list[int]) -> Tensor:
    """Image k (N, K, C, H, W) in squares whose side is cells[k]."""
    height, width = (torch.arange(side, device=numbers.device) for side in numbers.shape[-2:])
    images = []
    for place, cell in enumerate(cells):
        picked = numbers[:, place].index_select(-2, height // cell * cell).index_select(-1, width // cell * cell)
        images.append(picked)
    return torch.stack(images, 1)
