"""The capsule networks of Qin et al. (2020, arXiv:1907.02957): CapsNet, "CapsNet All" and "DeepCaps".

They differ in what the reconstruction network sees of the class capsules: `capsnet-r` the winner's pose in its place
and zeros elsewhere, `capsnet-all` all poses, `deepcaps` the winner's pose as one vector, so that the same units redraw
every class. The last is what Qin takes from Rajasegaran et al. (2019, arXiv:1904.09546) and names after it, as one of
"two variants" of "our CapsNet based on (Sabour et al., 2017)"; so its other layers are CapsNet's here too, not the
deep ones of Rajasegaran.

Beside what `qin2020` says, the paper leaves open the logits, the rounds of routing and the weight of the
reconstruction loss. Chosen here: arctanh(2F - 1) of the lengths F, as Michels et al. (2019), which orders the classes
as the lengths do; three rounds; the sum of squares times 0.005, ten times Sabour's. The paper's 92.2 % on CIFAR-10 are
out of reach for one convolution before the capsules (Sabour et al. report 89.4 % for seven networks together), and the
paper does not say what stood there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from advbench import Access, Dataset, Model, Recipe, at_least
from advbench_models.common.capsule_network import CapsuleNetwork, margin_and_reconstruction
from advbench_models.common.capsules import ClassCapsules, PrimaryCapsules
from advbench_models.common.qin2020 import REFERENCE, recipes, reconstruction_for, sizes

KERNEL, STRIDE, POSE = 9, 2, 8  # Sabour's, as are the kernels of the first convolution
Sees = Literal["winner", "all", "vector"]


@dataclass(frozen=True)
class CapsNetR(Model):
    """CapsNet: a convolution, primary capsules, class capsules; redraws from the winner's, the others masked."""

    name = "capsnet-r"
    reference = REFERENCE
    offers = Access.GRADIENTS | Access.RECONSTRUCTION
    sees: ClassVar[Sees] = "winner"
    reached: ClassVar[Mapping[str, float]] = {"mnist": 0.9958, "mnist-5k": 0.982}

    kernels: int = at_least(0, default=0)  # of the first convolution; Sabour has 256; 0: what the data set needs
    types: int = at_least(0, default=0)  # of primary capsules; Sabour has 32; 0: what the data set needs
    dimension: int = at_least(0, default=0)  # of a class capsule; 0: what the data set needs
    routings: int = at_least(1, default=3)
    balance: float = 0.005  # weight of the sum of squares beside the margin loss

    def why_not(self, dataset: Dataset) -> str | None:
        least = 2 * KERNEL - 1
        if min(dataset.shape[1:]) >= least:
            return None
        return f"its convolutions need images of {least} x {least} pixels or more; take `cnn-cr`"

    def build(self, dataset: Dataset) -> nn.Module:
        usual = sizes(dataset)
        kernels, types = self.kernels or usual.kernels, self.types or usual.types
        features = nn.Sequential(
            nn.Conv2d(dataset.shape[0], kernels, KERNEL),
            nn.ReLU(),
            PrimaryCapsules(kernels, types, POSE, KERNEL, STRIDE),
        )
        high, wide = ((side - 2 * KERNEL + 1) // STRIDE + 1 for side in dataset.shape[1:])
        dimension = self.dimension or usual.dimension
        capsules = ClassCapsules(types * high * wide, POSE, dataset.classes, dimension, self.routings)
        return SeeingNetwork(features, capsules, dataset, self.sees)

    def recipe(self, dataset: Dataset) -> Recipe:
        return recipes(3e-3, self.reached).of(dataset)

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return margin_and_reconstruction(net, images, labels, self.balance)


@dataclass(frozen=True)
class CapsNetAll(CapsNetR):
    """CapsNet All: `capsnet-r` without the mask; it redraws the same whatever the class."""

    name = "capsnet-all"
    sees = "all"
    reached: ClassVar[Mapping[str, float]] = {}


@dataclass(frozen=True)
class DeepCaps(CapsNetR):
    """DeepCaps: `capsnet-r` that redraws from the winner's capsule as one vector, the same units for every class."""

    name = "deepcaps"
    reference = "Rajasegaran et al., 2019, arXiv:1904.09546, as in " + REFERENCE
    sees = "vector"
    reached: ClassVar[Mapping[str, float]] = {}


class SeeingNetwork(CapsuleNetwork):
    """A capsule network whose reconstruction sees the winner masked in place, all capsules, or one vector."""

    def __init__(self, features: nn.Module, class_capsules: ClassCapsules, dataset: Dataset, sees: Sees) -> None:
        super().__init__(features, class_capsules, dataset.shape)
        self.sees = sees
        dimension = class_capsules.weight.shape[2]
        inputs = dimension if sees == "vector" else dimension * class_capsules.classes
        self.reconstruction = reconstruction_for(dataset, inputs)

    def redraw(self, capsules: Tensor, classes: Tensor) -> Tensor:
        if self.sees == "winner":
            return super().redraw(capsules, classes)
        seen = capsules.flatten(1)
        if self.sees == "vector":
            seen = capsules[torch.arange(len(capsules), device=capsules.device), classes]
        pixels: Tensor = self.reconstruction(seen)
        return pixels
