"""The plain and the rotation-equivariant network of Universal Attacks on Equivariant Networks (2019), table 2.

The layers are the table's. It does not say: padding (none here; then images whose side four divides are pooled into
whole windows, and `gcnn`'s maps turn with the image exactly), normalisation (none), optimiser, rate and epochs (see the
recipe). "Group spatial max pooling" pools each orientation by itself; nothing is pooled over orientations, as in the
table. So FC(50) of `gcnn` sees which way an image is turned, and its logits change with it; like `std-cnn` it needs
`augment` to recognise turned images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from advbench import Dataset, Model, Recipe
from advbench_models.common.named_layers import NamedLayers
from advbench_models.common.p4 import P4Convolution
from advbench_models.common.recipes import GREY, Recipes
from advbench_models.small_cnn import size


@dataclass(frozen=True)
class StdCnn(Model):
    """Four convolutions of 3 x 3 and two linear layers: 23,010 parameters on MNIST."""

    name = "std-cnn"
    reference = "Universal Attacks on Equivariant Networks, 2019, submitted to ICLR"
    feature_layer = "relu5"

    def why_not(self, dataset: Dataset) -> str | None:
        return square_reason(dataset)

    def build(self, dataset: Dataset) -> nn.Module:
        channels = dataset.shape[0]
        layers = [nn.Conv2d(before, after, 3) for before, after in ((channels, 10), (10, 10), (10, 20), (20, 20))]
        # a quarter faster on a CPU; the filter banks of `gcnn` do so by themselves
        return classifier(dataset, *layers).to(memory_format=torch.channels_last)

    def recipe(self, dataset: Dataset) -> Recipe:
        return recipes(epochs=40).of(dataset)


@dataclass(frozen=True)
class Gcnn(Model):
    """The same with convolutions over p4, so that maps turn with the image: 89,910 parameters on MNIST."""

    name = "gcnn"
    reference = "Cohen and Welling, 2016, arXiv:1602.07576"
    feature_layer = "relu5"

    def why_not(self, dataset: Dataset) -> str | None:
        return square_reason(dataset)

    def build(self, dataset: Dataset) -> nn.Module:
        lifting = P4Convolution(dataset.shape[0], 10, 3, lifts=True)
        return classifier(
            dataset, lifting, P4Convolution(10, 10, 3), P4Convolution(10, 20, 3), P4Convolution(20, 20, 3)
        )

    def recipe(self, dataset: Dataset) -> Recipe:
        return recipes(epochs=8).of(dataset)


def square_reason(dataset: Dataset) -> str | None:
    """Both poolings must meet whole windows, or the maps do not turn with the image."""
    _, height, width = dataset.shape
    if height == width and height % 4 == 0 and height >= 16:
        return None
    return f"its images are squares whose side four divides, at least 16, not {height}x{width}; take `small-cnn`"


def classifier(dataset: Dataset, first: nn.Module, second: nn.Module, third: nn.Module, fourth: nn.Module) -> nn.Module:
    """Table 2 around its four convolutions; a ReLU after each, pooling after every other one."""
    maps = {
        "conv1": first,
        "relu1": nn.ReLU(),
        "conv2": second,
        "relu2": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv3": third,
        "relu3": nn.ReLU(),
        "conv4": fourth,
        "relu4": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
    }
    inputs = size(nn.Sequential(*maps.values()), dataset.shape)
    head = {
        "fc1": nn.Linear(inputs, 50),
        "relu5": nn.ReLU(),
        "dropout": nn.Dropout(0.5),
        "fc2": nn.Linear(50, dataset.classes),
    }
    for layer in (maps | head).values():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # torch starts narrower, and learns more slowly behind so much dropout
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return NamedLayers(maps | head, feature_layer="relu5")


def recipes(epochs: int) -> Recipes:
    """Written for `augment`: turned by any angle, digits take more epochs. Floors hold for upright images."""
    return Recipes(
        {
            "mnist-5k": Recipe(epochs=30, batch=64, learning_rate=2.5e-3),
            GREY: Recipe(epochs=epochs, batch=128, learning_rate=5e-3),
        },
        floors={"mnist-5k": 0.9, "mnist": 0.93, "fashion-mnist": 0.8},
    )
