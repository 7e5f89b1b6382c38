"""A network's probabilities, a few images at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench import Material, Wanted

AT_ONCE = 32


def probabilities(material: Material, wanted: Wanted, images: Tensor) -> Tensor:
    """(N, classes), on the CPU."""
    target = material.target(wanted.dataset, wanted.model, wanted.defense)
    parts = []
    with torch.no_grad():
        for part in torch.split(images, AT_ONCE):
            material.progress(0.0, f"{wanted.model} is asked")
            parts.append(target.logits(part.to(material.device)).softmax(1).cpu())
    return torch.cat(parts) if parts else torch.zeros(0, target.classes)
