"""A small VGG (Simonyan and Zisserman, 2015, arXiv:1409.1556) that a CPU can train, its layers named as the paper's.

For the experiments of Hitting Depth (Billovits et al., 2016) where ImageNet's VGG-19 is out of reach; that one is
`torchvision(name=vgg19)`. Three blocks of two convolutions in place of five, 16 channels in the first in place of 64,
and fully connected layers of 512 units in place of 4,096. As in VGG, no batch normalisation, and dropout of 0.5 behind
both hidden layers; 0.5 is subtracted from pixels, which are then divided by 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from advbench import Dataset, Model, Recipe, at_least, between
from advbench_models.common.named_layers import NamedLayers
from advbench_models.common.normalisation import Normalisation
from advbench_models.common.recipes import COLOUR, GREY, Recipes
from advbench_models.small_cnn import size

BLOCKS = 3

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=20, batch=64, learning_rate=1e-3, shift=1),
        GREY: Recipe(epochs=10, batch=128, learning_rate=1e-3, shift=1),
        COLOUR: Recipe(epochs=30, batch=128, learning_rate=1e-3, shift=2, flip=True),
    },
    floors={"mnist-5k": 0.95, "mnist": 0.98, "fashion-mnist": 0.88},
)


@dataclass(frozen=True)
class VggSmall(Model):
    """Six convolutions and three linear layers, named conv1_1 to fc8: 635,000 parameters on MNIST."""

    name = "vgg-small"
    reference = "Simonyan and Zisserman, 2015, arXiv:1409.1556"
    feature_layer = "relu6"

    width: int = at_least(1, default=16)  # channels of the first block; each block doubles them
    units: int = at_least(1, default=512)  # of fc6 and fc7; VGG has 4,096
    dropout: float = between(0, 1, default=0.5)  # behind fc6 and fc7

    def why_not(self, dataset: Dataset) -> str | None:
        _, height, width = dataset.shape
        least = 2**BLOCKS
        if min(height, width) >= least:
            return None
        return f"its images are at least {least} pixels high and wide; take `small-cnn`"

    def build(self, dataset: Dataset) -> nn.Module:
        layers: dict[str, nn.Module] = {"normalisation": Normalisation([0.5], [0.5])}
        before = dataset.shape[0]
        for block in range(1, BLOCKS + 1):
            after = self.width * 2 ** (block - 1)
            for place in (1, 2):
                layers[f"conv{block}_{place}"] = nn.Conv2d(before, after, 3, padding=1)
                layers[f"relu{block}_{place}"] = nn.ReLU()
                before = after
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        inputs = size(nn.Sequential(*layers.values()), dataset.shape)
        for number, width in ((6, inputs), (7, self.units)):
            layers[f"fc{number}"] = nn.Linear(width, self.units)
            layers[f"relu{number}"] = nn.ReLU()
            layers[f"drop{number}"] = nn.Dropout(self.dropout)
        layers["fc8"] = nn.Linear(self.units, dataset.classes)
        for layer in layers.values():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        net = NamedLayers(layers, feature_layer=self.feature_layer)
        return net.to(memory_format=torch.channels_last)  # a quarter faster on a CPU

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)
