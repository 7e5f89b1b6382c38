"""Perturbations that fooled: the examples of a cell that were right when clean and reached the goal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Draws, JudgedCell, Material, NotFoundError


@dataclass(frozen=True)
class Deltas:
    ids: Tensor
    labels: Tensor
    clean: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def changes(self) -> Tensor:
        return self.images - self.clean


def fooling(material: Material, suite: str, *, target: str, attack: str, goal: str, threat: str) -> Deltas:
    """Of the one cell that fits."""
    fitting = [
        cell for cell in material.cells(suite, attack=attack, goal=goal, threat=threat) if cell.source.label == target
    ]
    if len(fitting) != 1:
        raise NotFoundError(f"the suite {suite} has no finished cell of {attack} to {goal} in {threat} on {target}")
    return of_cell(fitting[0])


def of_cell(cell: JudgedCell) -> Deltas:
    clean, perturbed = cell.clean(), cell.perturbed()
    reached = {row.example for row in cell.outcomes() if row.reached and row.violation is None}
    kept = torch.tensor([i in reached and clean.get(i, False) for i in perturbed.ids.tolist()], dtype=torch.bool)
    return Deltas(perturbed.ids[kept], perturbed.labels[kept], perturbed.clean[kept], perturbed.images[kept])


def shuffled(changes: Tensor, draws: Draws) -> Tensor:
    """The same values at other pixels, each image's by its own draw: as large in every norm, without structure."""
    order = draws.uniform(changes[0, 0].numel()).argsort(1).unsqueeze(1).expand(-1, changes.shape[1], -1)
    return changes.flatten(2).gather(2, order.to(changes.device)).view_as(changes)
