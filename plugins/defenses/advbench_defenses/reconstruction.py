"""Detection by class-conditional reconstruction (Qin et al., 2020, arXiv:1907.02957)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from advbench import Access, Defense


@dataclass(frozen=True)
class Reconstruction(Defense):
    """Suspects an image that is far, in l2, from what the network redraws from its winning class."""

    name = "reconstruction"
    reference = "Qin et al., 2020, arXiv:1907.02957"
    requires = Access.LOGITS | Access.RECONSTRUCTION
    detects = True
    differentiable = True

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():  # the winning class is a choice, not a number: nothing flows back through it
            winners = net(images).argmax(1)
        redrawn = cast("Tensor", net.reconstruct(images, winners))  # type: ignore[operator]
        # the root of zero has no gradient
        return (redrawn - images).square().flatten(1).sum(1).clamp_min(1e-12).sqrt()
