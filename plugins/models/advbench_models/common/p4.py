"""Convolutions over p4, shifts and quarter turns (Cohen and Welling, 2016, arXiv:1602.07576).

A feature map holds four orientations of every channel: (N, 4·C, H, W), the orientations of a channel side by side.
When the image makes a quarter turn, every map turns in the plane and its orientations move on by one: `quarter_turn`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench_models.common.filter_bank import FilterBank


class P4Convolution(FilterBank):
    """From an image (`lifts`) or a feature map to a feature map, without padding; the orientations share a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, lifts: bool = False) -> None:
        super().__init__()
        self.lifts = lifts
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1 if lifts else 4, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight.view(outputs, -1, kernel, kernel), nonlinearity="relu")

    def turned(self) -> Tensor:
        """A filter turns in the plane, and the orientations that it looks at move on with it."""
        turns = [self.weight.rot90(turn, (3, 4)).roll(0 if self.lifts else turn, 2) for turn in range(4)]
        return torch.stack(turns, 1).flatten(0, 1).flatten(1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.filters(), self.bias.repeat_interleave(4))


def quarter_turn(maps: Tensor, turns: int = 1) -> Tensor:
    """What a feature map becomes when its image makes so many quarter turns counter-clockwise."""
    count, channels, height, width = maps.shape
    oriented = maps.reshape(count, channels // 4, 4, height, width)
    return oriented.rot90(turns, (3, 4)).roll(turns, 2).flatten(1, 2)
