"""Multinomial logistic regression: the shallowest network there is, whose adversarial examples can be worked out.

What others call a softmax classifier (Goodfellow et al., 2015, arXiv:1412.6572, section 4): one linear layer on pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from advbench import Dataset, Model, Recipe
from advbench_models.common.recipes import GREY, Recipes

RECIPES = Recipes(
    {GREY: Recipe(epochs=15, batch=64, learning_rate=1e-3)},
    floors={"mnist-5k": 0.8, "mnist": 0.9, "fashion-mnist": 0.8},
)


@dataclass(frozen=True)
class Softmax(Model):
    """One linear layer: 7,850 parameters on MNIST."""

    name = "softmax"
    reference = "Goodfellow et al., 2015, arXiv:1412.6572"

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(dataset.shape), dataset.classes))

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)
