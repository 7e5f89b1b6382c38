"""The Wasserstein ball in the coordinates of transport plans (Wong et al., 2019, arXiv:1902.07906), not smoothed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench.errors import AdvbenchError
from advbench.geometry import Geometry
from advbench.parameters import written
from advbench.threats.radius import checked
from advbench.threats.threat import Threat
from advbench.threats.tolls import nearest_within_one
from advbench.threats.transport import Rows, Wishes, added, below_one, best_plan

if TYPE_CHECKING:
    from advbench.draws import Draws

DEAREST = 12.0
"""Decimal digits of what a unit of mass pays at most: beyond it the sums of plans round to nothing."""
WIDEST = 255
"""Pixels of a window: a plan has its square of numbers for every pixel."""
REACH = 3.0
"""Length of a unit step, in lengths of the image; tried from 1 to 4 on four networks, 3 attacks best in 40 steps."""


@dataclass(frozen=True)
class Wasserstein(Threat):
    """Mass moved between near pixels, at a cost of at most eps.

    Perturbations are plans (N, kernel², C, H, W): what each pixel sends to each place of the window around it.
    An image's mass is normalised to 1 over all channels, no mass changes its channel, moving a unit of it costs
    distance**power, and eps bounds that cost itself, without a root.
    """

    name = "wasserstein"
    offers: ClassVar[Geometry] = Geometry.START | Geometry.ASCENT
    # a plan's pixels round at 1e-7, its cost is a sum of thousands of them
    tolerance: ClassVar[float] = 1e-5

    eps: float = 1.0
    kernel: int = 5
    power: float = 1.0

    def __post_init__(self) -> None:
        checked(self.name, eps=self.eps, kernel=self.kernel, power=self.power)
        if not isinstance(self.kernel, int) or self.kernel < 3 or self.kernel % 2 == 0 or self.kernel > WIDEST:
            raise AdvbenchError(
                f"{self.name}: kernel must be an odd number of pixels from 3 to {WIDEST}, not {self.kernel}"
            )
        if math.log10(2 * (self.kernel // 2) ** 2) * self.power / 2 > DEAREST:
            raise AdvbenchError(f"{self.name}: power={written(self.power)} is too much for a window of {self.kernel}")
        if self.power == 0:
            raise AdvbenchError(f"{self.name}: power must be above 0, at which every move would cost the same")

    @property
    def radius(self) -> str:
        return f"p={written(self.power)},kernel={self.kernel},eps={written(self.eps)}"

    @property
    def family(self) -> str:
        return f"{self.name}(kernel={self.kernel}, power={written(self.power)})"

    def identity(self, x: Tensor) -> Tensor:
        p = x.new_zeros(len(x), self.kernel**2, *x.shape[1:])
        p[:, self._stay] = x
        return p

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Every pixel sends one and the same share of itself to a random place; the share uses a random part of eps."""
        lanes = _Lanes.of(x, self)
        target = draws.integers(self.kernel**2, *x.shape[1:]).flatten()[lanes.rows.place].unsqueeze(0)
        plan = x.new_zeros(lanes.table.shape).scatter_(0, target, lanes.rows.mass.unsqueeze(0))
        part = draws.uniform(1, dtype=torch.float64).squeeze(1)
        return self._finish(x, lanes, plan.masked_fill_(~lanes.inside, 0), part * self.eps)

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        n, c, h, w = x.shape
        blocks = p.transpose(1, 2).reshape(n * c, self.kernel**2, h * w)
        return F.fold(blocks, (h, w), self.kernel, padding=self.kernel // 2).view(x.shape) if n else p.sum(1)

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        """The nearest plan whose cost is within the budget and whose pixels are within 1.

        Near in shares: what a pixel sends counts relative to what it has, as in `steepest`, so that steps uphill end
        where no plan is better. The budget alone is met exactly; pixels by a few rounds of `tolls` and a last step that
        sends back what still overflows.
        """
        lanes = _Lanes.of(x, self)
        if self.eps == 0 or not len(lanes.rows.place):
            return self.identity(x)
        rows = lanes.rows
        values = lanes.gather(p).masked_fill_(~lanes.inside, -torch.inf)
        wishes = Wishes(values, lanes.cost, self._stay, rows, self.eps * rows.total(rows.mass), rows.mass)
        tolled = nearest_within_one(wishes, lanes.arrival)
        full = torch.full((len(x),), self.eps, dtype=torch.float64, device=x.device)
        plan = self._finish(x, lanes, tolled.plan, full)
        if not bool(tolled.failed.any()):
            return plan
        # far outside the ball, tolls may end wide of the mark: sending back what overflows can be nearer then
        other = self._finish(x, lanes, tolled.free, full)
        nearer = tolled.failed & (lanes.apart(other, values) < lanes.apart(plan, values))
        return torch.where(nearer.view(-1, 1, 1, 1, 1), other, plan)

    def furthest(self, x: Tensor, pull: Tensor) -> Tensor:
        """The plan within the budget whose image has the greatest product with `pull` (N, C, H, W), exactly.

        Pixels may exceed 1 in it: what keeps them below, a projection or a lower pull at full pixels, is left to the
        caller.
        """
        lanes = _Lanes.of(x, self)
        if self.eps == 0 or not len(lanes.rows.place):
            return self.identity(x)
        budget = self.eps * lanes.rows.total(lanes.rows.mass)
        arrival = torch.where(lanes.inside, lanes.arrival, lanes.rows.place)
        gain = pull.nan_to_num(0, 0, 0).flatten()[arrival].masked_fill_(~lanes.inside, -torch.inf)
        plan = best_plan(gain, lanes.cost, lanes.rows, budget)
        return x.new_zeros(x.numel() * self.kernel**2).index_put_((lanes.table,), plan).view(self.identity(x).shape)

    def on_pixels(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to the image (N, C, H, W): that of what stays where it is."""
        return gradient[:, self._stay]

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The gradient's part along the rows, weighted by what each pixel has to send, `REACH` images long.

        A row's mean is taken out because rows keep their sum. The weight makes pixels move shares of themselves alike:
        without it faint pixels are emptied at once while bright ones, which carry the digit, hardly move. A step of
        eps then moves about the mass that a budget of eps moves, whatever the image's size and brightness.
        """
        lanes = _Lanes.of(x, self)
        gain = lanes.gather(gradient).masked_fill_(~lanes.inside, 0).nan_to_num_(0)
        # first by the largest entry: a square of 1e-30 would be 0, of 1e30 infinite
        peak = lanes.rows.largest(gain.abs().amax(0))[lanes.rows.example]
        gain = gain / torch.where(peak > 0, peak, 1)
        gain = (gain - added(gain) / lanes.inside.sum(0)).masked_fill_(~lanes.inside, 0).mul_(lanes.rows.mass)
        length = lanes.rows.total(added(gain.square())).sqrt()
        bright = lanes.rows.total(lanes.rows.mass.square()).sqrt()
        scale = torch.where(length > 0, REACH * bright / length, 0).to(gain.dtype)
        return (
            x.new_zeros(gradient.numel()).index_put_((lanes.table,), gain * scale[lanes.rows.example]).view_as(gradient)
        )

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        mass = x.flatten(1).sum(1, dtype=torch.float64)
        # negative entries cost as much as positive ones: within their tolerance they could pay for others
        spent = (p.abs().flatten(2).sum(2, dtype=torch.float64) * self.prices(p).double()).sum(1)
        # nothing can be sent where there is nothing; what claims to, `coordinates` catches
        return torch.where(mass > 0, spent / torch.where(mass > 0, mass, 1), 0)

    def coordinates(self, x: Tensor, p: Tensor) -> Tensor:
        """The largest of: mass below zero, mass that rows have and their pixels don't, mass sent out of the image.

        Each in all, as a share of the image's mass: what is little in every row can be half of a dark image.
        """
        wrong = torch.stack([part.flatten(1).sum(1, dtype=torch.float64) for part in self.faults(x, p)])
        mass = x.flatten(1).sum(1, dtype=torch.float64)
        # where there is no mass, any is too much
        return torch.where(wrong > 0, wrong / mass, 0).amax(0)

    def faults(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What no plan has: mass below zero, rows that differ from their pixels, mass sent out of the image."""
        height, width = x.shape[-2:]
        negative = p.clamp_max(0).neg()
        unbalanced = (p.sum(1) - x).abs()
        down, right = self._window(x)
        row = torch.arange(height, device=x.device).unsqueeze(1) + down.view(-1, 1, 1)
        column = torch.arange(width, device=x.device) + right.view(-1, 1, 1)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        stray = p.abs().masked_fill(inside.unsqueeze(1), 0)
        return negative, unbalanced, stray

    def moved(self, x: Tensor, p: Tensor) -> Tensor:
        ways = torch.stack(self._window(x)).to(p.dtype)
        return torch.einsum("dk,nkchw->ndhw", ways, p)

    def pack(self, x: Tensor, p: Tensor) -> dict[str, Tensor]:
        """What is not 0, example after example: its place in the example's plan, and how many there are of it."""
        flat = p.flatten(1)
        example, index = ((flat != 0) | flat.signbit()).nonzero(as_tuple=True)  # -0.0 has its bits too
        count = torch.bincount(example, minlength=len(p))
        return {"value": flat[example, index], "index": index.int(), "count": count.int()}

    def unpack(self, x: Tensor, stored: dict[str, Tensor]) -> Tensor:
        """Whoever stored it, no more is made of it than plans of these images: a count may claim anything."""
        value, index, count = stored["value"], stored["index"].long(), stored["count"].long()
        places = self.kernel**2 * x[:1].numel()
        fits = value.ndim == index.ndim == count.ndim == 1 and len(value) == len(index) and len(count) == len(x)
        if not fits or bool((count < 0).any()) or bool((count > places).any()) or int(count.sum()) != len(value):
            raise ValueError("counts, places and values of plans that do not belong together")
        example = torch.arange(len(count), device=value.device).repeat_interleave(count)
        place = example * places + index
        if bool((index < 0).any()) or bool((index >= places).any()) or bool((place.diff() <= 0).any()):
            raise ValueError("places that are not in the plan, or out of order")
        p = value.new_zeros(len(count), self.kernel**2, *x.shape[1:])
        p.flatten(1)[example, index] = value
        return p

    @property
    def _stay(self) -> int:
        return self.kernel**2 // 2

    def _window(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How far down and right each place of the window lies."""
        lane = torch.arange(self.kernel**2, device=x.device)
        return lane // self.kernel - self.kernel // 2, lane % self.kernel - self.kernel // 2

    def prices(self, x: Tensor) -> Tensor:
        """(K,) what a unit of mass pays for each place of the window."""
        down, right = self._window(x)
        return (down**2 + right**2).to(x.dtype).pow(self.power / 2)

    def _finish(self, x: Tensor, lanes: _Lanes, plan: Tensor, eps: Tensor) -> Tensor:
        """A full plan from what moves: rows send what they have at most, images stay within eps, pixels within 1."""
        rows, tiny = lanes.rows, torch.finfo(plan.dtype).tiny
        moved = plan.clone()
        moved[self._stay] = 0
        moved *= (rows.mass / added(moved).clamp_min(tiny)).clamp_max(1)
        # scaling what moves keeps a plan a plan; some roundings less keep the sum within eps
        spent = rows.total(added(moved * lanes.cost.unsqueeze(1)))
        share = eps * rows.total(rows.mass) / spent.clamp_min(tiny)
        share = torch.where(share < 1, share * (1 - 4 * torch.finfo(plan.dtype).eps), 1)
        moved *= share[rows.example].to(plan.dtype)
        lane, row = moved.nonzero(as_tuple=True)
        amount, sent = below_one(x.flatten(), rows.place[row], lanes.arrival[lane, row], moved[lane, row])
        full = x.new_zeros(x.numel() * self.kernel**2)
        full[lanes.table[lane, row]] = amount
        full[lanes.table[self._stay]] = (rows.mass - sent[rows.place]).clamp_min_(0)
        return full.view(len(x), self.kernel**2, *x.shape[1:])


@dataclass(frozen=True)
class _Lanes:
    """Every place (K, R) of the window around every pixel that carries mass."""

    rows: Rows
    cost: Tensor
    """(K,) what a unit of mass pays."""
    table: Tensor
    """(K, R) where a plan, flattened, holds what goes there."""
    arrival: Tensor
    """(K, R) which of the batch's pixels it is; meaningless outside the image."""
    inside: Tensor
    """(K, R) whether it lies in the image."""

    @classmethod
    def of(cls, x: Tensor, threat: Wasserstein) -> _Lanes:
        rows = Rows.of(x)
        height, width = x.shape[-2:]
        down, right = (offset.unsqueeze(1) for offset in threat._window(x))
        row, column = rows.place // width % height + down, rows.place % width + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        lane = torch.arange(threat.kernel**2, device=x.device).unsqueeze(1)
        table = rows.place + (rows.example * (threat.kernel**2 - 1) + lane) * rows.pixels
        return cls(rows, threat.prices(x), table, rows.place + down * width + right, inside)

    def gather(self, p: Tensor) -> Tensor:
        return p.take(self.table)

    def apart(self, p: Tensor, values: Tensor) -> Tensor:
        """The squared distance (N,) of plans from values, in shares of what each pixel has."""
        return self.rows.total(added((self.gather(p) - values).masked_fill_(~self.inside, 0).square()) / self.rows.mass)
