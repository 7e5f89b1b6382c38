"""Feature squeezing (Xu et al., 2018, arXiv:1704.01155): two coarser looks at an image, compared with the plain one.

Squeezers are fewer bits a pixel and a median over a small window; suspicion is the largest l1 distance between the
softmax of the plain and of a squeezed image. The defaults are those the paper finds best on MNIST (1 bit, 2 x 2). For
CIFAR-10 it takes 5 bits, 2 x 2 and a third squeezer, non-local means, which is not here. An even window lies above and
to the left, its upper median counts, and borders are mirrored, as in the SciPy filter that the authors use.

The paper's detector answers with the plain image's classes (`answers=plain`); answering with those of a squeezed one is
its other defense. Rounding passes gradients straight through, so that attackers may be offered those of the suspicion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench import Access, Defense, Examples, at_least, between, one_of
from advbench_defenses.common.in_front import InFront, straight_through


@dataclass(frozen=True)
class FeatureSqueezing(Defense):
    """Suspects an image whose classes change when it is squeezed to fewer bits or smoothed by a median."""

    name = "feature-squeezing"
    reference = "Xu et al., 2018, arXiv:1704.01155"
    requires = Access.LOGITS
    detects = True
    differentiable = True

    bits: int = between(1, 8, default=1)  # a pixel
    window: int = at_least(1, default=2)  # side of the median's window; 1 changes nothing
    answers: str = one_of("plain", "bits", "median")  # what the answers are about

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        change = {"bits": self.fewer_bits, "median": self.smoothed}.get(self.answers)
        return InFront(net, change) if change else net

    def suspicion(self, net: nn.Module, images: Tensor) -> Tensor:
        plain = net(images).softmax(1)
        looks = [net(change(images)).softmax(1) for change in (self.fewer_bits, self.smoothed)]
        return torch.stack([(plain - look).abs().sum(1) for look in looks]).amax(0)

    def fewer_bits(self, images: Tensor) -> Tensor:
        levels = 2**self.bits - 1
        return straight_through(images, (levels * images).round() / levels)

    def smoothed(self, images: Tensor) -> Tensor:
        before, after = self.window // 2, (self.window - 1) // 2
        for dim in (2, 3):
            images = images.index_select(dim, mirrored(images.shape[dim], before, after).to(images.device))
        windows = images.unfold(2, self.window, 1).unfold(3, self.window, 1).flatten(4)
        return windows.sort(4).values[..., windows.shape[4] // 2]


def mirrored(size: int, before: int, after: int) -> Tensor:
    """Places along a side with so many more at its ends: b a | a b c | c b."""
    place = torch.arange(-before, size + after) % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)
