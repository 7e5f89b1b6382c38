"""JPEG compression in front of a network (Das et al., 2018, arXiv:1802.06816; Guo et al., 2018, arXiv:1711.00117).

The image makes the way to a file and back: eight-bit levels, cosines of 8 x 8 blocks, quantised with the standard's
tables at a quality, colour at half the size, and back to eight-bit levels. Both papers take 75. Entropy coding loses
nothing and is left out. Rounding has no gradient, so attackers are offered the straight-through one (BPDA, Athalye et
al., 2018, arXiv:1802.00420): the way there and back is nearly the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from advbench import Dataset, Defense, Examples, between, compress_jpeg
from advbench_defenses.common.in_front import InFront, straight_through


@dataclass(frozen=True)
class Jpeg(Defense):
    """Compresses every image as JPEG does before the network sees it."""

    name = "jpeg"
    reference = "Das et al., 2018, arXiv:1802.06816"
    trained_behind = True

    quality: int = between(1, 100, default=75)

    def why_not(self, dataset: Dataset) -> str | None:
        channels = dataset.shape[0]
        return None if channels in (1, 3) else f"a JPEG file holds one channel or three, not {channels}"

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return InFront(net, self.round_trip)

    def round_trip(self, images: Tensor) -> Tensor:
        levels = (255 * images.detach()).round() / 255
        quality = images.new_full((len(images), 1, 1, 1), float(self.quality))
        decoded = (255 * compress_jpeg(levels, quality, halved=True)).round().clamp(0, 255) / 255
        return straight_through(images, decoded)
