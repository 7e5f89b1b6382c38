"""The nearest point beyond several hyperplanes at once, inside a box, for a batch, in l2 or l-infinity.

A primal-dual interior-point method with Mehrotra's predictor and corrector (Mehrotra, 1992, doi:10.1137/0802028). Of
Newton's equations for all the pixels, what has to be solved is a system of one row a plane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import may_wait
from advbench_attacks.common.radius import dual, inside

ROUNDS = 20
CLOSE = 3e-3
"""The gap between an answer and the best one that ends the search, as a share of the answer."""
TOUCH = 1e-5
"""How exactly the planes are met, as a share of what the farthest one asks for."""
SHORT = 0.99
"""How much of the way to where the first bound is met a step goes."""


def corner(normals: Tensor, gains: Tensor, low: Tensor, high: Tensor, norm: str) -> Tensor:
    """The smallest moves d, (R, D), with normals · d >= gains and low <= d <= high; `norm` is `linf` or `l2`.

    `normals` (R, K, D) and `gains` (R, K) are of planes, and zero must lie between `low` and `high`. Where no move in
    the box gains that much, what returns is some move in the box.
    """
    kind = normals.dtype
    normals, gains, low, high = (rows.double().nan_to_num(0, 0, 0) for rows in (normals, gains, low, high))
    steepness = dual(normals, norm).clamp_min(torch.finfo(kind).tiny)
    # a pixel's typical move becomes 1, and so does the gain that the farthest plane alone asks for
    far = (gains / steepness).amax(1, keepdim=True).clamp_min(1e-6)
    scale = far / (normals.shape[2] ** 0.5 if norm == "l2" else 1)
    planes = normals * (scale / far / steepness).unsqueeze(2)
    move = solved(planes, gains / (far * steepness) + TOUCH, low / scale, high / scale, norm == "l2")
    return inside((move * scale).nan_to_num(0, 0, 0), low, high).to(kind)


@dataclass(frozen=True)
class Point:
    """Where the method stands, or a step of it. Products of room and force, spare and weight, vanish at the end."""

    d: Tensor  # the move
    t: Tensor  # in l-infinity, what no pixel's move exceeds
    room: Tensor  # (2 or 4, R, D), how far the pixels are from their bounds
    force: Tensor  # the multipliers of those bounds
    spare: Tensor  # (R, K), how far beyond the planes; the equations close what it is wrong by
    weight: Tensor  # the planes' multipliers

    @property
    def gap(self) -> Tensor:
        return (self.room * self.force).sum((0, 2)).unsqueeze(1) + (self.spare * self.weight).sum(1, keepdim=True)

    def after(self, step: Point, reach: Tensor, press: Tensor) -> Point:
        shares = (reach, reach, reach, press, reach, press)
        return Point(*(a + share * b for a, b, share in zip(parts(self), parts(step), shares, strict=True)))


def parts(point: Point) -> tuple[Tensor, ...]:
    return point.d, point.t, point.room, point.force, point.spare, point.weight


def solved(g: Tensor, b: Tensor, low: Tensor, high: Tensor, l2: bool) -> Tensor:
    """The same where numbers are about 1: the least mean(d²) / 2, or in l-infinity the least t."""
    at = begun(b, low, high, l2)
    done = torch.zeros_like(at.t, dtype=torch.bool)
    answer = at.d
    for turn in range(ROUNDS):
        gap = at.gap
        size = at.d.square().mean(1, keepdim=True) if l2 else at.t
        missing = (b - along(g, at.d)).amax(1, keepdim=True)
        answer = torch.where(done, answer, at.d)
        done = done | ~((gap > CLOSE * size) | (missing > TOUCH))  # true of NaN, too
        # asking costs a wait on a GPU, and who is done keeps his answer
        if (may_wait(g.device) or turn % 4 == 3) and bool(done.all()):
            break
        solve = newton(g, b, at, l2)
        guess = solve(-at.room * at.force, -at.spare * at.weight)
        target = gap / (len(at.room) * g.shape[2] + g.shape[1])
        target = target * (at.after(guess, *longest(at, guess, l2)).gap / gap) ** 3
        step = solve(
            target - at.room * at.force - guess.room * guess.force,
            target - at.spare * at.weight - guess.spare * guess.weight,
        )
        reach, press = longest(at, step, l2)
        at = at.after(step, SHORT * reach, SHORT * press)
    return answer


def begun(b: Tensor, low: Tensor, high: Tensor, l2: bool) -> Point:
    """Near zero and well inside the box, where forces and weights are about what they will be."""
    inner = ((high - low) / 4).clamp_max(0.5)
    d = inside(torch.zeros_like(low), low + inner, high - inner)
    t = d.abs().amax(1, keepdim=True) + 0.6
    room = sides(d, t, -low, high, l2)
    spare = b.abs().clamp_min(1)
    return Point(d, t, room, 0.3 / d.shape[1] / room, spare, 0.3 / spare)


def newton(g: Tensor, b: Tensor, at: Point, l2: bool) -> Callable[[Tensor, Tensor], Point]:
    """What takes Newton's step, for wanted changes of the products of room and force, and of spare and weight."""
    pixels = g.shape[2]
    ratio = at.force / at.room
    stiff = ratio[0] + ratio[1] + (1 / pixels if l2 else ratio[2] + ratio[3])
    thin = g / stiff.unsqueeze(1)
    system = thin @ g.transpose(1, 2) + torch.diag_embed(at.spare / at.weight)
    missing = at.spare - along(g, at.d) + b
    pull = across(g, at.weight) - pushed(at.force, l2) - (at.d / pixels if l2 else 0)
    tilt = slide = lift = torch.zeros_like(at.d[:, :1])
    loose = torch.ones_like(at.t)
    if not l2:  # t is in every pixel's equations, and is taken out of them first
        tie, both = ratio[3] - ratio[2], ratio[2] + ratio[3]
        loose = ((both * (ratio[0] + ratio[1]) + 4 * ratio[2] * ratio[3]) / stiff).sum(1, keepdim=True)
        tilt, slide = tie / stiff, along(thin, tie)
        lift = (at.force[2] + at.force[3]).sum(1, keepdim=True) - 1
        system = system + slide.unsqueeze(2) * slide.unsqueeze(1) / loose.unsqueeze(2)
    inverse = torch.linalg.inv_ex(system)[0]

    def solve(bounds: Tensor, planes: Tensor) -> Point:
        push = bounds / at.room
        right = pull - pushed(push, l2)
        move, rise = right / stiff, torch.zeros_like(at.t)
        if not l2:
            rise = (lift + (push[2] + push[3]).sum(1, keepdim=True) - (tilt * right).sum(1, keepdim=True)) / loose
            move = move - tilt * rise
        lean = along(inverse, planes / at.weight + missing - along(g, move))
        move = move + across(thin, lean)
        if not l2:
            fall = (slide * lean).sum(1, keepdim=True) / loose
            move, rise = move + tilt * fall, rise - fall
        room = sides(move, rise, 0, 0, l2)
        return Point(move, rise, room, push - ratio * room, along(g, move) - missing, lean)

    return solve


def along(rows: Tensor, d: Tensor) -> Tensor:
    """The product of each row's matrix (R, K, D) with its vector (R, D): (R, K)."""
    return (rows @ d.unsqueeze(2)).squeeze(2)


def across(rows: Tensor, weight: Tensor) -> Tensor:
    """The product of each row's transposed matrix (R, K, D) with its weights (R, K): (R, D)."""
    return (weight.unsqueeze(1) @ rows).squeeze(1)


def sides(d: Tensor, t: Tensor, low: Tensor | float, high: Tensor | float, l2: bool) -> Tensor:
    """How far every pixel is from its bounds; with no `low` and `high`, how that changes."""
    return torch.stack([high - d, low + d] if l2 else [high - d, low + d, t - d, t + d])


def pushed(force: Tensor, l2: bool) -> Tensor:
    """The sum of the bounds' forces on each pixel, counted downwards."""
    return force[0] - force[1] if l2 else force[0] - force[1] + force[2] - force[3]


def longest(at: Point, step: Point, l2: bool) -> tuple[Tensor, Tensor]:
    """The shares (R, 1) of a step at which the first room, and the first force, is used up; at most 1."""
    reach = torch.maximum((-step.room / at.room).amax((0, 2)), (-step.spare / at.spare).amax(1)).clamp_min(1)
    press = torch.maximum((-step.force / at.force).amax((0, 2)), (-step.weight / at.weight).amax(1)).clamp_min(1)
    if l2:  # what is squared ties both together
        reach = press = torch.maximum(reach, press)
    return 1 / reach.unsqueeze(1), 1 / press.unsqueeze(1)
