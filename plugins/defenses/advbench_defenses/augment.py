"""Training on randomly transformed images (Engstrom et al., 2019, arXiv:1712.02779).

The default, turns by any angle, is what Universal Attacks on Equivariant Networks (2019) trains with. Engstrom et al.
have `augment(degrees=30, pixels=3)`, `augment(degrees=40, pixels=4)` and random crops, `augment(degrees=0, crop=4)`.
One draw per image and epoch, uniform; rendered as the ball `rotate-shift` does, bilinear and black outside. The
untransformed image is not added.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench import Defense, Draws, RotateShift, at_least, between, random_shift


@dataclass(frozen=True)
class Augment(Defense):
    """Trains on images that are turned, shifted and cropped at random."""

    name = "augment"
    reference = "Engstrom et al., 2019, arXiv:1712.02779"
    trains = True

    degrees: float = between(0, 180, default=180.0)  # turned by at most so much, either way
    pixels: float = at_least(0, default=0.0)  # moved by at most so much along each side
    crop: int = at_least(0, default=0)  # a border of so many black pixels is added, then the old size cut out anywhere

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            if self.degrees or self.pixels:
                threat = RotateShift(degrees=self.degrees, pixels=self.pixels)
                images = threat.apply(images, threat.start(images, draws)).clamp(0, 1)
            if self.crop:
                images = random_shift(images, self.crop, draws)
        return images, labels
