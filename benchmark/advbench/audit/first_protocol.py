"""What protocol 1 did otherwise, as far as results of version 0.1 are refereed again.

Nothing is crafted by these rules, and no other database takes in what was judged by them: a weak attack under a strong
one's name is found by crafting alone.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from advbench.problem.batches import BatchSize
from advbench.store.rows import TargetRow
from advbench.target.answer import Answer, majority, seeded
from advbench.target.target import Target
from advbench.threats import Threat, Wasserstein


class FirstTarget(Target):
    """Whoever answers by chance drew anew with every call, for all of its images one after the other."""

    def answer(self, images: Tensor, batch: BatchSize, places: Tensor | None = None) -> Answer:
        if self.draws == 1:
            return self._once(images, batch)
        drawn = []
        for draw in range(self.draws):
            with seeded(f"judge/{draw}", images.device):
                drawn.append(self._once(images, batch))
        return majority(drawn)


class FirstWasserstein(Wasserstein):
    """What is wrong with a plan was measured in its worst place, not in all of them together."""

    def coordinates(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.stack([part.flatten(1).amax(1) for part in self.faults(x, p)]).amax(0)


def first_ball(ball: Threat) -> Threat:
    """The ball with the measure that protocol 1 used, for cells that were judged by it."""
    return FirstWasserstein(**_values(ball)) if isinstance(ball, Wasserstein) else ball


def first_target(target: Target, fresh: TargetRow, row: TargetRow) -> tuple[Target, TargetRow]:
    """The rebuilt target as it answered then, and the row `fresh` of it.

    `row` is the stored one, whose key was held against its parts already. The oldest rows are older than draws: then
    whoever answers by chance was asked once, from wherever torch's generator stood, and never answers so again.
    """
    same = FirstTarget(**_values(target))
    same.key, same.draws = row.key, row.draws
    same.repeats = target.repeats and (row.draws > 1 or not row.randomised)
    draws = row.draws if fresh.randomised else fresh.draws
    return same, replace(fresh, key=row.key, draws=draws)


def _values(one: Any) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(one)}
