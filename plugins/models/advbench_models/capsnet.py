"""The capsule networks of Michels et al. (2019, arXiv:1906.03612), after Sabour et al. (2017, arXiv:1710.09829).

| data | convolutions, each with a ReLU | convolutional capsules |
| --- | --- | --- |
| MNIST, and grey images without a form of their own | 64 of 9 x 9 | 32 types of 8, 9 x 9, stride 2 |
| Fashion-MNIST | 32 and 32 of 3 x 3 | the same |
| SVHN, and colour images | 64 and 256 of 5 x 5 | the same |

Behind them one capsule of 16 a class. The paper leaves open padding and stride of the convolutions (chosen: none, and
1), the rounds of routing, the reconstruction and its weight (Sabour's: 3; layers of 512 and 1,024; 0.0005 times the sum
of squares), and training. Pixels are taken as they are, as in Sabour et al. The reconstruction redraws the image in its
own range through a sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from advbench_models.common.recipes import COLOUR, GREY, Recipes, row_of

KERNEL, STRIDE = 9, 2  # of the convolutional capsules

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=10, batch=32, learning_rate=2e-3, shift=1),
        "mnist": Recipe(epochs=6, batch=128, learning_rate=2e-3, shift=2),
        GREY: Recipe(epochs=16, batch=128, learning_rate=2e-3, shift=1, flip=True),
        COLOUR: Recipe(epochs=30, batch=128, learning_rate=1e-3, schedule="exponential", shift=2, flip=True),
    },
    floors={"mnist-5k": 0.95, "mnist": 0.985, "fashion-mnist": 0.91},
    reached={"mnist": 0.9944, "fashion-mnist": 0.9327},
)


@dataclass(frozen=True)
class CapsNet(Model):
    """Convolutions, convolutional capsules and class capsules, routed by agreement: 4.2 million parameters on MNIST."""

    name = "capsnet"
    reference = "Michels et al., 2019, arXiv:1906.03612"
    offers = Access.GRADIENTS | Access.RECONSTRUCTION

    routings: int = at_least(1, default=3)
    types: int = at_least(1, default=32)  # of convolutional capsules
    balance: float = 0.0005  # weight of the sum of squares beside the margin loss

    def why_not(self, dataset: Dataset) -> str | None:
        widths, kernel = convolutions(dataset)
        least = KERNEL + len(widths) * (kernel - 1)
        if min(dataset.shape[1:]) < least:
            return f"its convolutions need images of {least} x {least} pixels or more; take `dcnet` or `convnet`"
        return too_many(self.capsules(dataset), dataset.classes)

    def build(self, dataset: Dataset) -> nn.Module:
        widths, kernel = convolutions(dataset)
        layers: list[nn.Module] = []
        before = dataset.shape[0]
        for width in widths:
            layers += [nn.Conv2d(before, width, kernel), nn.ReLU()]
            before = width
        features = nn.Sequential(*layers, PrimaryCapsules(before, self.types, DIMENSION, KERNEL, STRIDE))
        count = self.capsules(dataset)
        class_capsules = ClassCapsules(count, DIMENSION, dataset.classes, CLASS_DIMENSION, self.routings)
        return CapsuleNetwork(features, class_capsules, dataset.shape)

    def capsules(self, dataset: Dataset) -> int:
        """The number of convolutional capsules of an image."""
        widths, kernel = convolutions(dataset)
        height, width = ((side - len(widths) * (kernel - 1) - KERNEL) // STRIDE + 1 for side in dataset.shape[1:])
        return self.types * height * width

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return margin_and_reconstruction(net, images, labels, self.balance)


def convolutions(dataset: Dataset) -> tuple[tuple[int, ...], int]:
    """How many channels the convolutions before the capsules have, and the side of their kernels."""
    table: dict[str, tuple[tuple[int, ...], int]]
    table = {"fashion-mnist": ((32, 32), 3), GREY: ((64,), 9), COLOUR: ((64, 256), 5)}
    return row_of(table, dataset)
