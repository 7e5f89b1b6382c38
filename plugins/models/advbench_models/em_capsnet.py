"""Matrix capsules with EM routing (Hinton, Sabour and Frosst, 2018, ICLR), named in both papers on capsule networks.

The paper's layers, smaller: 5 x 5 convolution with 32 channels and stride 2; primary capsules, 1 x 1, whose poses are
linear and whose activations are logistic; two layers of convolutional capsules, 3 x 3, the first with stride 2; class
capsules that share their matrices over positions and add coordinates. 8 types in each layer of capsules, where the
paper has 8, 16 and 16 in its small network. Its three rounds of routing are two here; they cost most.

The paper's spread loss raises its margin from 0.2 to 0.9 during training. A loss here knows no time: the margin is 0.9
from the start, and instead matrices start near the identity. Open in the paper and chosen: batch normalisation behind
the convolution, the inverse temperature (see `em_routing`), and Adam. Logits are arctanh(2a - 1) of the activations a,
half of what their sigmoid is taken of, and so never saturate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import Dataset, Model, Recipe, at_least
from advbench_models.common.em_routing import POSE, ClassMatrixCapsules, ConvolutionalCapsules, Windows
from advbench_models.common.recipes import COLOUR, GREY, Recipes

TOGETHER = 8  # images that are routed at once on a CPU; the votes of more leave its caches

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=15, batch=32, learning_rate=5e-3, shift=1),
        GREY: Recipe(epochs=6, batch=64, learning_rate=5e-3, shift=1),
        COLOUR: Recipe(epochs=30, batch=64, learning_rate=5e-3, shift=1),
    },
    floors={"mnist-5k": 0.9, "mnist": 0.95, "fashion-mnist": 0.8},
)


@dataclass(frozen=True)
class EmCapsNet(Model):
    """Capsules with a 4 x 4 pose and an activation, routed by expectation-maximisation; 25,000 parameters on MNIST."""

    name = "em-capsnet"
    reference = "Hinton et al., 2018: Matrix capsules with EM routing (ICLR)"

    channels: int = at_least(1, default=32)  # of the convolution
    types: int = at_least(1, default=8)  # of capsules in each layer
    iterations: int = at_least(1, default=2)  # rounds of routing
    temperature: float = 0.1  # the inverse one that routing would end at
    margin: float = 0.9

    def why_not(self, dataset: Dataset) -> str | None:
        least = 17
        if min(dataset.shape[1:]) >= least:
            return None
        return f"its four layers need images of {least} x {least} pixels or more; take `dcnet` or `convnet`"

    def build(self, dataset: Dataset) -> nn.Module:
        return MatrixCapsuleNetwork(dataset, self.channels, self.types, self.iterations, self.temperature)

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return spread_loss((2 * net(images)).sigmoid(), labels, self.margin)


class MatrixCapsuleNetwork(nn.Module):
    """A convolution and four layers of capsules; answers with arctanh(2a - 1) of the class activations a."""

    def __init__(self, dataset: Dataset, channels: int, types: int, iterations: int, temperature: float) -> None:
        super().__init__()
        before, *sides = dataset.shape
        self.convolution = nn.Sequential(
            nn.Conv2d(before, channels, 5, stride=2, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.types = types
        self.primary = nn.Conv2d(channels, types * (POSE * POSE + 1), 1)
        height, width = ((side - 5) // 2 + 1 for side in sides)
        first = Windows(height, width, 3, 2)
        second = Windows(first.height, first.width, 3, 1)
        self.first = ConvolutionalCapsules(first, types, types, iterations, temperature)
        self.second = ConvolutionalCapsules(second, types, types, iterations, temperature)
        self.classes = ClassMatrixCapsules(second.height, second.width, types, dataset.classes, iterations, temperature)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.primary(self.convolution(images)).permute(0, 2, 3, 1).flatten(1, 2)
        maps = maps.view(len(images), -1, self.types, POSE * POSE + 1)
        poses, activations = maps[..., :-1], maps[..., -1].sigmoid()
        if images.device.type != "cpu":
            return self.routed(poses, activations)
        parts = zip(torch.split(poses, TOGETHER), torch.split(activations, TOGETHER), strict=True)
        return torch.cat([self.routed(*part) for part in parts])

    def routed(self, poses: Tensor, activations: Tensor) -> Tensor:
        """The logits of the classes, routed from primary capsules."""
        for layer in (self.first, self.second):
            poses, logits = layer(poses, activations)
            activations = torch.sigmoid(logits)
        _, logits = self.classes(poses, activations)
        answer: Tensor = logits / 2
        return answer


def spread_loss(activations: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Squares of what the true class lacks to be `margin` more active than each other; batch mean."""
    true = activations.gather(1, labels[:, None])
    lacking = (margin - (true - activations)).relu().square()
    others = 1 - F.one_hot(labels, activations.shape[1]).to(activations.dtype)
    return (lacking * others).sum(1).mean()
