"""The nearest transport plan that fills no pixel beyond 1: full ones take a toll of what arrives or stays there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advbench.threats.transport import OVERFLOW, ROUNDS, Settled, Wishes, anchored, gathered, settled

TOLLS = 8
"""Times that tolls are raised and lowered; chosen by what 20 steps of two attacks reach on four networks."""
HURRIED = 3
"""Newton steps that plans take to follow the tolls; the last ones are followed to the end."""
UNFAIR = 1e-4
"""A toll is fair when its pixel is full to this amount."""
LEFT = 0.01
"""A pixel that charges and stays this far below 1 ends with the last toll at which it was too full."""
FAR = 1.0
"""How much too full a pixel may be at last, lest tolls have gone wide of the mark."""


@dataclass(frozen=True)
class Tolled:
    """The plan (K, R) that tolls lead to, the one without, and for which images (N,) tolls failed."""

    plan: Tensor
    free: Tensor
    failed: Tensor


def nearest_within_one(wishes: Wishes, arrival: Tensor) -> Tolled:
    """The plan nearest to these wishes whose image nowhere exceeds 1, nearly: what still overflows is to be sent back.

    `arrival` (K, R) is the pixel that each place is. A toll is the multiplier of one pixel's limit: plans are settled
    for given tolls, then every toll takes a Newton step, within a bracket, as if it were alone.
    """
    wishes = anchored(wishes)
    rows = wishes.rows
    state = settled(wishes)
    free = state.plan
    places = torch.where(wishes.values > -torch.inf, arrival, rows.place)
    toll = free.new_zeros(rows.examples, rows.pixels)
    low, high = torch.zeros_like(toll), torch.full_like(toll, torch.inf)
    over, slope = crowding(state, wishes, places)
    for turn in range(TOLLS):
        # a plan that still follows its tolls would go on, or not, by how long its neighbours take
        fair = state.done & (unfairness(toll, over) <= UNFAIR)
        if bool(fair.all()):
            break
        # other tolls move too, so a bracket may be wrong: what contradicts it breaks it open; a plan that still follows
        # its tolls says nothing about it
        crowded, sparse = (side & state.done.unsqueeze(1) for side in (over > 0, over < 0))
        low, high = (
            torch.where(crowded, toll, torch.where(sparse & (toll <= low), 0, low)),
            torch.where(crowded & (toll >= high), torch.inf, torch.where(sparse, toll, high)),
        )
        newton = (toll + over / slope).clamp_min(0)
        inside = (newton >= low) & (newton <= high) | ~state.done.unsqueeze(1) | (high == torch.inf)
        moved = torch.where(inside, newton, (low + high) / 2)
        if turn + 1 == TOLLS:  # what overflows can be sent back, what stays away can't be fetched
            moved = torch.where((over < -LEFT) & (toll > 0), low, moved)
        toll = torch.where(fair.unsqueeze(1), toll, moved)
        charged = replace(wishes, values=wishes.values - wishes.ease * toll.flatten()[places])
        state = settled(charged, replace(state, done=fair), HURRIED if turn + 1 < TOLLS else ROUNDS)
        over, slope = crowding(state, wishes, places)
    return Tolled(state.plan, free, unfairness(toll, over) > FAR)


def crowding(state: Settled, wishes: Wishes, places: Tensor) -> tuple[Tensor, Tensor]:
    """The excess of each pixel (N, P) over 1, and how fast a toll there would drive mass away."""
    plan, rows = state.plan, wishes.rows
    lane, row = plan.nonzero(as_tuple=True)
    at = places[lane, row]
    held = gathered(plan[lane, row], at, rows.examples * rows.pixels)
    # of a row in m places, 1 - 1/m of the toll is felt here, for its threshold falls by 1/m of it
    felt = wishes.ease * (1 - 1 / (plan > 0).sum(0).clamp_min(2))
    slope = gathered(felt[row], at, len(held))
    over = torch.where(held - 1 > OVERFLOW, held - 1, (held - 1).clamp_max(0))
    return over.view(rows.examples, -1), torch.where(slope > 0, slope, 1).view(rows.examples, -1)


def unfairness(toll: Tensor, over: Tensor) -> Tensor:
    """How far, per image, a pixel is beyond 1, or below it and charging all the same."""
    return torch.where(toll > 0, over.abs(), over).amax(1)
