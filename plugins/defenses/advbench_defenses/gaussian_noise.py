"""Noise at the door: every image gets other noise each time it is asked about (Gilmer et al., 2019, arXiv:1901.10513).

No defense that anybody should use: it is here as the target whose answers differ from one time to the next. It draws
from torch's own generator, as a stranger's defense would, so that the harness finds out by asking twice, says so on the
page and judges by several draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench import Defense, Examples, at_least
from advbench_defenses.common.in_front import InFront


@dataclass(frozen=True)
class GaussianNoise(Defense):
    """Adds fresh normal noise to an image whenever the network is asked about it."""

    name = "gaussian-noise"
    reference = "Gilmer et al., 2019, arXiv:1901.10513"
    trained_behind = True

    sigma: float = at_least(0, default=0.25)  # standard deviation of a pixel's noise

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return InFront(net, self.noisy)

    def noisy(self, images: Tensor) -> Tensor:
        return images + self.sigma * torch.randn_like(images)
