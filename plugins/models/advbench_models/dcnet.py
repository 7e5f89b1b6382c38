"""Dense capsules for CIFAR-10: a DCNet (Phaye et al., 2018, arXiv:1805.04001) as Michels et al. (2019) modified it.

Michels et al. (arXiv:1906.03612) say three convolutional capsule layers and a none-of-the-above category in the
routing. Chosen here, after the three levels of Phaye's DCNet++: every level is a densely connected block of 3 x 3
convolutions with batch normalisation, which sees all maps before it, then convolutional capsules (3 x 3, stride 2)
whose channels are also what the next level starts from. The capsules of all levels vote together for eleven class
capsules, the eleventh of which, none of the above, is neither an answer nor in the loss. Phaye's blocks have eight
convolutions and one kernel of 9 x 9; here are four, and kernels of 3 x 3. Convolutions add 32 channels, and a
level has 16 types of capsules; for grey images half of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench import Access, Dataset, Model, Recipe, at_least
from advbench_models.common.capsule_network import (
    CLASS_DIMENSION,
    DIMENSION,
    CapsuleNetwork,
    margin_and_reconstruction,
    too_many,
)
from advbench_models.common.capsules import ClassCapsules, PrimaryCapsules
from advbench_models.common.normalisation import Normalisation
from advbench_models.common.recipes import COLOUR, GREY, Recipes

LEVELS = 3

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=10, batch=32, learning_rate=1e-3, shift=1),
        GREY: Recipe(epochs=8, batch=128, learning_rate=1e-3, shift=1),
        COLOUR: Recipe(epochs=60, batch=128, learning_rate=1e-3, schedule="exponential", shift=3, flip=True),
    },
    floors={"mnist-5k": 0.9, "mnist": 0.98, "fashion-mnist": 0.89},
)


@dataclass(frozen=True)
class DCNet(Model):
    """Three levels of dense convolutions and capsules, and none of the above: 11.3 million parameters on CIFAR-10."""

    name = "dcnet"
    reference = "Michels et al., 2019, arXiv:1906.03612; Phaye et al., 2018, arXiv:1805.04001"
    offers = Access.GRADIENTS | Access.RECONSTRUCTION

    growth: int = at_least(0, default=0)  # channels that a convolution adds; 0 leaves it to the data set
    layers: int = at_least(1, default=4)  # convolutions of a level
    types: int = at_least(0, default=0)  # of capsules, a level; 0 leaves it to the data set
    routings: int = at_least(1, default=3)
    balance: float = 0.0005  # weight of the sum of squares beside the margin loss

    def why_not(self, dataset: Dataset) -> str | None:
        least = 2 ** (LEVELS + 1) - 1
        if min(dataset.shape[1:]) < least:
            return f"its three levels need images of {least} x {least} pixels or more; take `convnet`"
        return too_many(self.capsules(dataset), dataset.classes + 1)

    def build(self, dataset: Dataset) -> nn.Module:
        growth = self.growth or (16 if dataset.shape[0] == 1 else 32)
        capsules = ClassCapsules(
            self.capsules(dataset),
            DIMENSION,
            dataset.classes,
            CLASS_DIMENSION,
            self.routings,
            none_of_the_above=True,
        )
        features = Levels(dataset.shape[0], growth, self.layers, self.types_on(dataset))
        return CapsuleNetwork(features, capsules, dataset.shape)

    def types_on(self, dataset: Dataset) -> int:
        """How many types of capsules each level has."""
        return self.types or (8 if dataset.shape[0] == 1 else 16)

    def capsules(self, dataset: Dataset) -> int:
        """How many capsules vote for the classes of an image."""
        positions, (height, width) = 0, dataset.shape[1:]
        for _ in range(LEVELS):
            height, width = (height - 1) // 2, (width - 1) // 2
            positions += height * width
        return positions * self.types_on(dataset)

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return margin_and_reconstruction(net, images, labels, self.balance)


class Levels(nn.Module):
    """Images to the capsules of all levels, (N, I, d)."""

    def __init__(self, channels: int, growth: int, layers: int, types: int) -> None:
        super().__init__()
        self.normalisation = Normalisation([0.5], [0.5])
        self.blocks, self.capsules = nn.ModuleList(), nn.ModuleList()
        for _ in range(LEVELS):
            self.blocks.append(DenseBlock(channels, growth, layers))
            self.capsules.append(PrimaryCapsules(channels + layers * growth, types, DIMENSION, 3, 2))
            channels = types * DIMENSION

    def forward(self, images: Tensor) -> Tensor:
        maps = self.normalisation(images)
        found = []
        for block, capsules in zip(self.blocks, self.capsules, strict=True):
            height, width = maps.shape[2:]
            level: Tensor = capsules(block(maps))
            found.append(level)
            # capsules back in the places that they have in the image
            maps = level.transpose(1, 2).reshape(len(images), -1, (height - 1) // 2, (width - 1) // 2)
        return torch.cat(found, 1)


class DenseBlock(nn.Module):
    """Convolutions each of which sees the block's input and all that came before (Huang et al., 2017)."""

    def __init__(self, channels: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels + layer * growth, growth, 3, padding=1, bias=False),
                nn.BatchNorm2d(growth),
                nn.ReLU(),
            )
            for layer in range(layers)
        )

    def forward(self, maps: Tensor) -> Tensor:
        for layer in self.layers:
            maps = torch.cat([maps, layer(maps)], 1)
        return maps
