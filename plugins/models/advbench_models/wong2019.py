"""The MNIST network of Wong, Schmidt and Kolter (2019, arXiv:1902.07906), whose published weights load into it.

`wong2019(weights=mnist_vanilla.safetensors)` takes the checkpoints of locuslab/projected_sinkhorn, also as they were
published (`.pth`). Their `binarize` network expects images that the caller has binarised; nothing here does that.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from advbench import Dataset, Model, Recipe
from advbench_models.common.recipes import GREY, Recipes

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=30, batch=64, learning_rate=1e-3),
        GREY: Recipe(epochs=10, batch=64, learning_rate=1e-3),
    },
    floors={"mnist-5k": 0.9, "mnist": 0.96},
    reached={"mnist": 0.9897},
)


@dataclass(frozen=True)
class Wong2019(Model):
    """Two strided convolutions and two linear layers, without normalisation: 166,406 parameters."""

    name = "wong2019"
    reference = "Wong et al., 2019, arXiv:1902.07906"

    def why_not(self, dataset: Dataset) -> str | None:
        _, height, width = dataset.shape
        if height == width and height % 4 == 0:
            return None
        return f"its images are squares whose side four divides, not {height}x{width}; take `small-cnn`"

    def build(self, dataset: Dataset) -> nn.Module:
        channels, side, _ = dataset.shape
        # the places in this sequence are the names in the published files: add nothing
        return nn.Sequential(
            nn.Conv2d(channels, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (side // 4) ** 2, 100),
            nn.ReLU(),
            nn.Linear(100, dataset.classes),
        )

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)
