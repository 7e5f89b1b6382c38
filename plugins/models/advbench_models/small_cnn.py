"""A small convolutional network, quick on a CPU: the plain one of the `quick` suite (after LeCun et al., 1998)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from advbench import Dataset, Model, Recipe


@dataclass(frozen=True)
class SmallCNN(Model):
    """Three strided convolutions and one linear layer: 37,000 parameters on MNIST."""

    name = "small-cnn"
    reference = "LeCun et al., 1998: Gradient-based learning applied to document recognition"

    width: int = 16

    def build(self, dataset: Dataset) -> nn.Module:
        body = features(dataset.shape, self.width)
        return nn.Sequential(*body, nn.Flatten(), nn.Linear(size(body, dataset.shape), dataset.classes))

    def recipe(self, dataset: Dataset) -> Recipe:
        recipe = training_recipe(dataset)
        return replace(recipe, expected=0.979) if dataset.label == "mnist-5k" else recipe


def features(shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Strided convolutions instead of pooling: half the cost, and this is what every pass of an attack pays."""
    return nn.Sequential(
        nn.Conv2d(shape[0], width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
        nn.ReLU(),
    )


def size(body: nn.Module, shape: tuple[int, int, int]) -> int:
    """How many features the body makes of one image."""
    with torch.no_grad():
        return int(body(torch.zeros(1, *shape)).numel())


def training_recipe(dataset: Dataset) -> Recipe:
    """Shared by the two networks of the `quick` suite; floors lie well under what the recipe reaches.

    They hold for the data set itself: of digits that are turned when they are judged, nobody can ask as much.
    """
    if dataset.name == "mnist-5k":
        return Recipe(epochs=30, batch=64, learning_rate=5e-3, shift=1, floor=0.95)
    floors = {"mnist": 0.97, "fashion-mnist": 0.85}
    return Recipe(epochs=15, batch=128, learning_rate=5e-3, shift=1, floor=floors.get(dataset.label, 0.0))
