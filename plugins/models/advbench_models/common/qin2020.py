"""What the networks of Qin et al. (2020, arXiv:1907.02957) share: sizes, the reconstruction network, the recipe.

The paper gives its networks in a picture (figure 6) without readable sizes, and says: the capsule network is that of
Sabour et al. (2017), the three kinds have the same number of parameters, MNIST and Fashion-MNIST the same networks and
SVHN larger ones, Adam and the same number of epochs for all. Chosen here: Sabour's layers with fewer channels (64 of
256 kernels, 8 of 32 types of primary capsules: for digits 0.7 and not 6.8 million parameters before the reconstruction
network of 1.4 million), as an attack of 1,000 steps should end on a CPU; class capsules of 16; convolutions as wide as
gives the same number of parameters. `mnist-5k`, whose weights ship, has networks of its own, two thirds of that.

The reconstruction network is 512, 1024 and a sigmoid everywhere but on CIFAR-10, where the paper has "a deeper" one and
no more words: a third layer of 1,024 here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from advbench import Dataset, Recipe
from advbench_models.common.capsules import reconstruction_network
from advbench_models.common.recipes import COLOUR, GREY, Recipes, row_of

REFERENCE = "Qin et al., 2020, arXiv:1907.02957"


@dataclass(frozen=True)
class Sizes:
    """Of the networks on one data set; `kernels` and `types` are the capsule network's, `width` the others'."""

    kernels: int
    types: int
    width: int
    dimension: int = 16
    """Of a class capsule, and of a class's group of units."""


SIZES = {
    "mnist-5k": Sizes(kernels=16, types=3, width=12, dimension=8),
    GREY: Sizes(kernels=64, types=8, width=46),
    COLOUR: Sizes(kernels=128, types=16, width=118),
}


def sizes(dataset: Dataset) -> Sizes:
    """The layer sizes that stand for parameters left at 0, by data set."""
    return row_of(SIZES, dataset)


def reconstruction_for(dataset: Dataset, inputs: int) -> nn.Sequential:
    """From what is seen of a class to pixels in [0, 1]."""
    if dataset.name != "cifar10":
        return reconstruction_network(inputs, dataset.shape)
    widths = (inputs, 512, 1024, 1024)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    pixels = nn.Linear(widths[-1], math.prod(dataset.shape))
    return nn.Sequential(*layers, pixels, nn.Sigmoid(), nn.Unflatten(1, dataset.shape))


def squares(redrawn: Tensor, images: Tensor) -> Tensor:
    """The sum of squared differences of an image, as a mean over the batch."""
    return (redrawn - images).square().flatten(1).sum(1).mean()


def recipes(learning_rate: float, reached: Mapping[str, float], few: float | None = None) -> Recipes:
    """The same epochs for all; `few` is the learning rate for the few digits of `mnist-5k`, where it is another."""
    few = learning_rate if few is None else few
    return Recipes(
        {
            # a third more than `small-cnn` has: redrawing is learnt later than telling apart
            "mnist-5k": Recipe(epochs=40, batch=64, learning_rate=few, shift=1),
            GREY: Recipe(epochs=15, batch=128, learning_rate=learning_rate, shift=1, flip=True),
            COLOUR: Recipe(epochs=30, batch=128, learning_rate=learning_rate, shift=2, flip=True),
        },
        floors={"mnist-5k": 0.95, "mnist": 0.985, "fashion-mnist": 0.89},
        reached=reached,
    )
