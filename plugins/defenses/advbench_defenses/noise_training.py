"""Training on noise (section 3.3 of Cohen et al., 2019, arXiv:1902.02918): what a smoothed network should have seen.

Noise is clipped to [0, 1], as `randomized-smoothing` does: the network behind both never sees another kind of image.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from advbench import Defense, Draws, at_least


@dataclass(frozen=True)
class NoiseTraining(Defense):
    """Trains on images with normal noise, drawn anew for every image and epoch."""

    name = "noise-training"
    reference = "Cohen et al., 2019, arXiv:1902.02918"
    trains = True

    sigma: float = at_least(0, default=0.25)  # standard deviation of a pixel's noise

    def training_batch(
        self, net: nn.Module, images: Tensor, labels: Tensor, draws: Draws, progress: float
    ) -> tuple[Tensor, Tensor]:
        noise = draws.normal(*images.shape[1:], dtype=images.dtype)
        return (images + self.sigma * noise).clamp(0, 1), labels
