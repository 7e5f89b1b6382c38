"""The nearest transport plan within a budget: one multiplier an image, one threshold a pixel, found by Newton steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.pace import may_wait

ROUNDS = 100
TOGETHER = 12
"""Rounds in which a multiplier moves although its thresholds are not yet right: faster, and nearly always enough."""
MEETINGS = 24
"""Multipliers that are tried for the best plan: the last bracket is that narrow."""
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


@dataclass(frozen=True)
class Wishes:
    """What a nearest plan is to be near to, and what it must keep."""

    values: Tensor
    """(K, R) amounts; -inf where nothing may be sent."""
    cost: Tensor
    """(K,) what a unit of mass pays."""
    stay: int
    """The place that costs nothing."""
    rows: Rows
    budget: Tensor
    """(N,) what each image's mass may pay together."""
    ease: Tensor
    """(R,) each row's squared distances count divided by it."""


@dataclass(frozen=True)
class Settled:
    """A plan (K, R), the multipliers that it comes from, and for which images they are right."""

    plan: Tensor
    threshold: Tensor
    """(R,) one a row, for its sum."""
    multiplier: Tensor
    """(N,) one an image, for its budget."""
    done: Tensor

    @classmethod
    def nowhere(cls, wishes: Wishes) -> Settled:
        """The multipliers to begin with, under which no pixel sends mass away."""
        zero = torch.zeros_like(wishes.budget)
        return cls(wishes.values, -wishes.values[wishes.stay], zero, zero.bool())


def nearest_plan(values: Tensor, cost: Tensor, stay: int, rows: Rows, budget: Tensor) -> Tensor:
    """The plan (K, R) nearest to `values` whose rows sum to their mass and whose cost is within the `budget` (N,).

    Where `values` is -inf nothing is sent. Right up to rounding: who needs a plan that keeps its budget to the last
    digit scales what moves.
    """
    return settled(anchored(Wishes(values, cost, stay, rows, budget, torch.ones_like(rows.mass)))).plan


def anchored(wishes: Wishes) -> Wishes:
    """Wishes counted from what stays: a threshold takes up any constant, and large values keep their digits."""
    return replace(wishes, values=wishes.values - wishes.values[wishes.stay])


def settled(wishes: Wishes, start: Settled | None = None, rounds: int = ROUNDS) -> Settled:
    """The multipliers for these wishes, by Newton steps from those of `start`; who is done there keeps them.

    By the optimality conditions the plan is `relu(values - ease * multiplier * cost - threshold)`. A row's threshold is
    the root of a convex, an image's multiplier of a monotone function, both piecewise linear: Newton steps end exactly,
    and a bracket keeps the multiplier's from going astray.
    """
    values, cost, stay, rows, budget, ease = (getattr(wishes, field.name) for field in fields(wishes))
    start = start or Settled.nowhere(wishes)
    threshold, multiplier, done = start.threshold, start.multiplier, start.done
    prices = cost.unsqueeze(1)
    rounding = 8 * torch.finfo(values.dtype).eps
    tiny = torch.finfo(torch.float64).tiny
    low = torch.full_like(budget, -1.0)  # below every multiplier, for 0 itself is still to be tried
    high = rows.largest(_indifference(values - values[stay], prices, rows.mass) / ease).double()
    plan = values
    for turn in range(rounds):
        rate = multiplier[rows.example].to(values.dtype) * ease
        plan = torch.addcmul(values, prices, rate, value=-1).sub_(threshold).relu_()
        spent = added(plan * prices)
        excess = added(plan) - rows.mass
        active = plan.sign()
        count = active.sum(0)
        first = added(active.mul_(prices))
        second = added(active.mul_(prices))
        share = count.clamp_min(1)
        wrong = excess.abs() > rounding * share * (rows.mass + threshold.abs() + rate * cost[0])
        totals = torch.stack(
            (spent, wrong.to(spent.dtype), first * excess / share, (second - first.square() / share) * ease)
        )
        spent, unsettled, overdue, slope = rows.total(totals)
        balanced = unsettled == 0
        fits = spent <= budget
        low = torch.where(balanced & ~fits, multiplier, low)
        high = torch.where(balanced & fits, multiplier, high)
        exact = (spent - budget).abs() <= rounding * budget
        done = done | balanced & (fits & (multiplier == 0) | exact | (high - low <= rounding * high))
        # asking costs a wait on a GPU, a needless round costs little there
        if (may_wait(values.device) or turn % 4 == 3) and bool(done.all()):
            break
        newton = (multiplier + (spent - overdue - budget) / slope.clamp_min(tiny)).clamp_min(0)
        middle = (low.clamp_min(0) + high) / 2
        newton = torch.where((newton > low) & (newton < high), newton, torch.where(balanced, middle, multiplier))
        moves = ~done & (balanced | (turn < TOGETHER))
        change = torch.where(moves, newton - multiplier, 0)
        drift = first * change[rows.example].to(values.dtype) * ease
        # above every value there is no slope to follow; the threshold at which all stays is a bound from below
        step = torch.where(count > 0, threshold + (excess - drift) / share, values[stay] - rows.mass)
        threshold = torch.where(done[rows.example], threshold, step)
        multiplier = multiplier + change
    return Settled(plan, threshold, multiplier, done)


def best_plan(gain: Tensor, cost: Tensor, rows: Rows, budget: Tensor) -> Tensor:
    """The plan (K, R) of the greatest gain whose rows sum to their mass and whose cost is within the `budget` (N,).

    At a multiplier each row sends all it has to the place of best `gain - multiplier * cost`. The gain that is left,
    plus the multiplier's worth of budget, is convex in the multiplier: the tangents at the two ends of a bracket meet
    where the next one is tried, or in the middle when that shrinks it too little. At the critical one a dear and a
    cheap plan are worth the same, and a mixture of them spends the budget. Where `gain` is -inf nothing is sent.
    """
    prices = cost.unsqueeze(1)

    def choice(multiplier: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, lane = torch.addcmul(gain, prices, multiplier[rows.example].to(gain.dtype), value=-1).max(0)
        worth, spent = rows.total(torch.stack((value, cost[lane])) * rows.mass)
        return lane, worth + multiplier * budget, spent

    low = torch.zeros_like(budget)
    spread = (gain.amax(0) - torch.where(gain > -torch.inf, gain, torch.inf).amin(0)).clamp_min(0)
    high = rows.largest(spread).double() * 1.01 / cost[cost > 0].min() + torch.finfo(gain.dtype).tiny
    dear, worth, spent = choice(low)
    free = spent <= budget
    cheap, other, saved = choice(high)
    for turn in range(MEETINGS):
        # tangents: worth - (spent - budget) * (m - low) and other + (budget - saved) * (m - high)
        meeting = (worth - other + (spent - budget) * low + (budget - saved) * high) / (spent - saved)
        middle = (low + high) / 2
        inside = (meeting > low) & (meeting < high)
        tried = torch.where(inside & (turn % 3 != 2), meeting, middle)
        lane, gained, paid = choice(tried)
        fits = paid <= budget
        low, worth, spent = (torch.where(fits, a, b) for a, b in ((low, tried), (worth, gained), (spent, paid)))
        high, other, saved = (torch.where(fits, b, a) for a, b in ((high, tried), (other, gained), (saved, paid)))
        dear, cheap = torch.where(fits[rows.example], dear, lane), torch.where(fits[rows.example], lane, cheap)
    share = torch.where(free, 1, (budget - saved) / torch.where(spent > saved, spent - saved, 1)).clamp(0, 1)
    part = rows.mass * share[rows.example].to(gain.dtype)
    dear = torch.where(free[rows.example], choice(torch.zeros_like(budget))[0], dear)
    plan = torch.zeros_like(gain).scatter_(0, cheap.unsqueeze(0), (rows.mass - part).unsqueeze(0))
    return plan.scatter_add_(0, dear.unsqueeze(0), part.unsqueeze(0))


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


def gathered(amount: Tensor, place: Tensor, places: int) -> Tensor:
    """The sum of the amounts at each of so many places, in the same order in every run and beside any neighbours."""
    total = amount.new_zeros(places)
    # one adds in order on a CPU and atomically on a GPU, the other sorts on a GPU and is atomic with several threads
    return total.index_put_((place,), amount, accumulate=True) if amount.is_cuda else total.index_add_(0, place, amount)


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
        sent, came = gathered(amount, source, len(x)), gathered(amount, arrival, len(x))
        over = x - sent + came - 1
        full = over > OVERFLOW
        if not bool(full.any()):
            return amount, sent
        # ever more than the overflow itself, which would only creep towards 1 where full pixels feed each other; in the
        # end all that arrived, after which a pixel can't overflow again: this ends
        back = over * (1 + turn / 4) / came if turn < 40 else 1
        amount = amount * torch.where(full, 1 - back, 1).clamp_(0, 1)[arrival]
        turn += 1
