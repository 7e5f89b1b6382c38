"""An operation on images in front of a network, as several defenses are."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn


class InFront(nn.Module):
    """The network sees what the operation makes of its images; whatever else it answers, too."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.net(self.change(images))
        return answer

    def reconstruct(self, images: Tensor, classes: Tensor) -> Tensor:
        return cast("Tensor", self.net.reconstruct(self.change(images), classes))  # type: ignore[operator]


def straight_through(images: Tensor, changed: Tensor) -> Tensor:
    """`changed`, bit for bit, with the gradient of `images` (Bengio et al., 2013; BPDA in Athalye et al., 2018)."""
    return changed.detach() + (images - images.detach())
