"""The convolutional network beside which Michels et al. (2019, arXiv:1906.03612) put their capsule networks.

The paper says batch normalisation and dropout, and names no layer. Chosen here: three blocks of two 3 x 3 convolutions
as in VGG (Simonyan and Zisserman, 2015), each normalised over the batch (Ioffe and Szegedy, 2015) before its ReLU,
max-pooled, channels doubled from block to block; dropout (Srivastava et al., 2014) of 0.25 behind each block and of 0.5
before the last layer, behind a hidden one of eight times the width. The width follows the data: 16 channels for MNIST,
32 for other grey images, 64 for colour. Pixels are taken as they are: the first batch normalisation centres them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from advbench import Dataset, Model, Recipe, at_least
from advbench_models.common.recipes import COLOUR, GREY, Recipes, row_of
from advbench_models.small_cnn import size

BLOCKS = 3

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=25, batch=64, learning_rate=4e-3, shift=1),
        "mnist": Recipe(epochs=8, batch=128, learning_rate=4e-3, shift=2),
        GREY: Recipe(epochs=20, batch=128, learning_rate=4e-3, shift=1, flip=True),
        COLOUR: Recipe(epochs=40, batch=128, learning_rate=4e-3, shift=3, flip=True),
    },
    floors={"mnist-5k": 0.96, "mnist": 0.99, "fashion-mnist": 0.91},
    reached={"mnist": 0.9964, "fashion-mnist": 0.9408},
)


@dataclass(frozen=True)
class ConvNet(Model):
    """Six convolutions with batch normalisation and dropout, and two linear layers: 147,000 parameters on MNIST."""

    name = "convnet"
    reference = "Michels et al., 2019, arXiv:1906.03612"

    width: int = at_least(0, default=0)  # channels of the first block; 0 leaves it to the data set

    def why_not(self, dataset: Dataset) -> str | None:
        _, height, width = dataset.shape
        least = 2**BLOCKS
        if min(height, width) >= least:
            return None
        return f"it halves images three times, so they must be {least} pixels high and wide or more; take `small-cnn`"

    def build(self, dataset: Dataset) -> nn.Module:
        width = self.width or first_width(dataset)
        layers: list[nn.Module] = []
        before = dataset.shape[0]
        for block in range(BLOCKS):
            after = width * 2**block
            for channels in (before, after):
                layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
            before = after
        inputs, hidden = size(nn.Sequential(*layers).eval(), dataset.shape), 8 * width
        layers += [nn.Flatten(), nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
        layers += [nn.Dropout(0.5), nn.Linear(hidden, dataset.classes)]
        return nn.Sequential(*layers).train().to(memory_format=torch.channels_last)

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)


def first_width(dataset: Dataset) -> int:
    """The number of channels of the first block: more for harder data sets."""
    return row_of({"mnist": 16, "mnist-5k": 16, GREY: 32, COLOUR: 64}, dataset)
