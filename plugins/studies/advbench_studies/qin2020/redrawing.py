"""How far images are from what a network redraws of them."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench import Material

BATCH = 250


def distances(
    material: Material, dataset: str, network: str, images: Tensor, every: bool = False
) -> tuple[Tensor, Tensor]:
    """The winning classes, and the l2 distances to what the winner redraws; with `every`, (N, classes) of them."""
    net = material.target(dataset, network).net
    winners, found = [], []
    for first in range(0, len(images), BATCH):
        batch = images[first : first + BATCH].to(material.device)
        with torch.no_grad():
            answered = net(batch).argmax(1)
            asked = range(material.target(dataset, network).classes) if every else (None,)
            columns = []
            for one in asked:
                classes = answered if one is None else torch.full_like(answered, one)
                redrawn = net.reconstruct(batch, classes)  # type: ignore[operator]
                columns.append((redrawn - batch).flatten(1).norm(dim=1))
        winners.append(answered.cpu())
        found.append(torch.stack(columns, 1).cpu())
    together = torch.cat(found)
    return torch.cat(winners), together if every else together[:, 0]


def redrawn(material: Material, dataset: str, network: str, images: Tensor) -> Tensor:
    """What the winning class redraws of each image."""
    drawn = material.target(dataset, network).redrawn(images.to(material.device))
    assert drawn is not None, f"{network} redraws nothing"
    return drawn.cpu()
