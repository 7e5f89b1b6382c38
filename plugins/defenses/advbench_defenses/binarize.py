"""Black and white images (the binarized network of Wong et al., 2019, arXiv:1902.07906; figure 7 of D'Costa et al.).

A step function has no gradient, which defends nothing: attackers are offered the straight-through one, as if the
threshold were not there (Bengio et al., 2013, arXiv:1308.3432; BPDA in Athalye et al., 2018, arXiv:1802.00420).
Balls are drawn around the grey images. In Wong et al. data are binarized first and balls drawn around the result:
that is the data set `mnist(binarized=true)`, not this defense.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from advbench import Defense, Examples, between
from advbench_defenses.common.in_front import InFront, straight_through


@dataclass(frozen=True)
class Binarize(Defense):
    """Makes every pixel 0 or 1 before the network sees it."""

    name = "binarize"
    reference = "Wong et al., 2019, arXiv:1902.07906"
    trained_behind = True

    threshold: float = between(0, 1, default=0.5)  # from here on a pixel is 1

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return InFront(net, self.binarized)

    def binarized(self, images: Tensor) -> Tensor:
        return straight_through(images, (images >= self.threshold).to(images.dtype))
