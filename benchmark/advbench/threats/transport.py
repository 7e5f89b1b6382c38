"""The nearest transport plan within a budget: one multiplier an image, one threshold a pixel, found by Newton steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ROUNDS = 100
TOGETHER = 12
"""Rounds in which a multiplier moves although its thresholds are not yet right: faster, and nearly always enough."""
OVERFLOW = 5e-7
"""How far above 1 a pixel may round."""
REGISTERS = 64
"""Columns that vector registers take at a time, or a multiple of it, whatever the processor."""


@dataclass(frozen=True)
class Rows:
    """The pixels that carry mass, from all images of a batch: only they have anything to send."""

    place: Tensor
    """(R,) where each stands among all pixels of the batch."""
    example: Tensor
    """(R,) the image that each belongs to."""
    mass: Tensor
    """(R,) the pixel's value."""
    examples: int
    pixels: int
    """Pixels of one image, all channels."""

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        pixels = math.prod(x.shape[1:])
        place = x.flatten().nonzero().view(-1)
        return cls(place, place // pixels, x.flatten()[place], len(x), pixels)

    def total(self, amounts: Tensor) -> Tensor:
        """Sums over each image's pixels, (…, R) to (…, N), in float64."""
        return self._spread(amounts).sum(-1, dtype=torch.float64)

    def largest(self, amounts: Tensor) -> Tensor:
        """The largest of each image's amounts, none of them negative, (R,) to (N,)."""
        return self._spread(amounts).amax(-1)

    def _spread(self, amounts: Tensor) -> Tensor:
        # whole images, no atomic adds: the order of a sum is the same on every device and beside any neighbours
        dense = amounts.new_zeros(*amounts.shape[:-1], self.examples * self.pixels)
        dense[..., self.place] = amounts
        return dense.view(*amounts.shape[:-1], self.examples, self.pixels)


def nearest_plan(values: Tensor, cost: Tensor, stay: int, rows: Rows, budget: Tensor) -> Tensor:
    """The plan (K, R) nearest to `values` whose rows sum to their mass and whose cost is within the `budget` (N,).

    By the optimality conditions it is `relu(values - multiplier * cost - threshold)`. A row's threshold is the root of
    a convex, an image's multiplier of a monotone function, both piecewise linear: Newton steps end exactly, and a
    bracket keeps the multiplier's from going astray. Where `values` is -inf nothing is sent. Right up to rounding: who
    needs a plan that keeps its budget to the last digit scales what moves.
    """
    # a row's threshold takes up any constant; counted from what stays, large values keep their digits
    threshold = -values[stay]
    values = values + threshold
    prices = cost.unsqueeze(1)
    rounding = 8 * torch.finfo(values.dtype).eps
    tiny = torch.finfo(torch.float64).tiny
    low = torch.full_like(budget, -1.0)  # below every multiplier, for 0 itself is still to be tried
    high = rows.largest(_indifference(values, prices, rows.mass)).double()
    multiplier = torch.zeros_like(budget)
    done = torch.zeros_like(budget, dtype=torch.bool)
    plan = values
    for turn in range(ROUNDS):
        rate = multiplier[rows.example].to(values.dtype)
        plan = torch.addcmul(values, prices, rate, value=-1).sub_(threshold).relu_()
        spent = added(plan * prices)
        excess = added(plan) - rows.mass
        active = plan.sign()
        count = active.sum(0)
        first = added(active.mul_(prices))
        second = added(active.mul_(prices))
        share = count.clamp_min(1)
        wrong = excess.abs() > rounding * share * (rows.mass + threshold.abs() + rate * cost[0])
        totals = torch.stack((spent, wrong.to(spent.dtype), first * excess / share, second - first.square() / share))
        spent, unsettled, overdue, slope = rows.total(totals)
        settled = unsettled == 0
        fits = spent <= budget
        low = torch.where(settled & ~fits, multiplier, low)
        high = torch.where(settled & fits, multiplier, high)
        exact = (spent - budget).abs() <= rounding * budget
        done = done | settled & (fits & (multiplier == 0) | exact | (high - low <= rounding * high))
        # asking costs a wait on a GPU, a needless round costs little there
        if (values.device.type == "cpu" or turn % 4 == 3) and bool(done.all()):
            break
        newton = (multiplier + (spent - overdue - budget) / slope.clamp_min(tiny)).clamp_min(0)
        middle = (low.clamp_min(0) + high) / 2
        newton = torch.where((newton > low) & (newton < high), newton, torch.where(settled, middle, multiplier))
        moves = ~done & (settled | (turn < TOGETHER))
        change = torch.where(moves, newton - multiplier, 0)
        drift = first * change[rows.example].to(values.dtype)
        # above every value there is no slope to follow; the threshold at which all stays is a bound from below
        step = torch.where(count > 0, threshold + (excess - drift) / share, -rows.mass)
        threshold = torch.where(done[rows.example], threshold, step)
        multiplier = multiplier + change
    return plan


def added(amounts: Tensor) -> Tensor:
    """Sums over the first dimension, (K, R) to (R,), every column in the same order whatever stands beside it.

    `sum(0)` adds the columns that fill vector registers in another order than those left over at the end, so an image's
    plan would depend on how many rows its neighbours bring.
    """
    if amounts.is_cuda:  # where the order depends on the shape altogether: add halves
        while len(amounts) > 1:
            half = len(amounts) // 2
            amounts = torch.cat((amounts[:half] + amounts[-half:], amounts[half : len(amounts) - half]))
        return amounts[0]
    whole = amounts.shape[1] // REGISTERS * REGISTERS
    if whole == amounts.shape[1]:
        return amounts.sum(0)
    rest = F.pad(amounts[:, whole:], (0, whole + REGISTERS - amounts.shape[1])).sum(0)
    return torch.cat((amounts[:, :whole].sum(0), rest))[: amounts.shape[1]]


def _indifference(values: Tensor, prices: Tensor, mass: Tensor) -> Tensor:
    """The multiplier from which on a row's mass stays where it is."""
    return ((values + mass) / prices).masked_fill_(prices == 0, 0).amax(0).clamp_min_(0)


def below_one(x: Tensor, source: Tensor, arrival: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
    """Send what overflows a pixel of value 1 back where it came from; what is left of `amount`, and who sent how much.

    What comes back may overflow in turn, so this is repeated; the cost only falls. `x` is flat, `source` and `arrival`
    say between which of its pixels each amount moves.
    """
    turn = 0
    while True:
        # sorted, not atomic, on a GPU: the same sums in every run
        sent = torch.zeros_like(x).index_put_((source,), amount, accumulate=True)
        came = torch.zeros_like(x).index_put_((arrival,), amount, accumulate=True)
        over = x - sent + came - 1
        full = over > OVERFLOW
        if not bool(full.any()):
            return amount, sent
        # ever more than the overflow itself, which would only creep towards 1 where full pixels feed each other; in the
        # end all that arrived, after which a pixel can't overflow again: this ends
        back = over * (1 + turn / 4) / came if turn < 40 else 1
        amount = amount * torch.where(full, 1 - back, 1).clamp_(0, 1)[arrival]
        turn += 1
