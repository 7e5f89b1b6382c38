"""RotEqNet, rotation-equivariant vector fields (Marcos, Volpi, Komodakis and Tuia, 2017, arXiv:1612.09346).

A filter is turned to many angles; each place keeps its strongest answer as a vector, whose length is the answer and
whose direction the angle. The next filters are vectors themselves and turn within. Layers and sizes are those for
MNIST-rot in the authors' code: 6, 16 and 32 filters of 9 x 9, two poolings, 128 units, dropout of 0.7.

Chosen here: 16 angles instead of 17, so that quarter turns are among them and turn the maps exactly; filters within
the disc that fits the square, turned by bilinear interpolation; of the last map the longest vector anywhere (one place
for 28 x 28). Batch normalisation divides lengths by their root mean square and adds nothing, which would turn vectors;
the first filters have no bias, later ones neither, for the same reason. No other normalisation of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import Dataset, Model, Recipe, at_least
from advbench_models.common.filter_bank import FilterBank
from advbench_models.common.named_layers import NamedLayers
from advbench_models.common.recipes import GREY, Recipes

RECIPES = Recipes(
    {
        "mnist-5k": Recipe(epochs=15, batch=64, learning_rate=5e-3),
        GREY: Recipe(epochs=6, batch=128, learning_rate=5e-3),
    },
    floors={"mnist-5k": 0.85, "mnist": 0.95, "fashion-mnist": 0.8},
)


@dataclass(frozen=True)
class RotEqNet(Model):
    """Three convolutions with vector fields that turn with the image; the logits hardly do: 104,752 parameters."""

    name = "roteqnet"
    reference = "Marcos et al., 2017, arXiv:1612.09346"
    feature_layer = "relu"

    angles: int = at_least(4, default=16)

    def why_not(self, dataset: Dataset) -> str | None:
        _, height, width = dataset.shape
        if height == width and height % 4 == 0 and height >= 28:
            return None
        return f"its images are squares whose side four divides, at least 28, not {height}x{width}; take `small-cnn`"

    def build(self, dataset: Dataset) -> nn.Module:
        layers: dict[str, nn.Module] = {
            "conv1": VectorConvolution(dataset.shape[0], 6, 9, padding=4, angles=self.angles, lifts=True),
            "pool1": VectorMaxPool(),
            "norm1": VectorBatchNorm(6),
            "conv2": VectorConvolution(6, 16, 9, padding=4, angles=self.angles),
            "pool2": VectorMaxPool(),
            "norm2": VectorBatchNorm(16),
            "conv3": VectorConvolution(16, 32, 9, padding=1, angles=self.angles),
            "longest": Longest(),
            "fc1": nn.Linear(32, 128),
            "norm3": nn.BatchNorm1d(128),
            "relu": nn.ReLU(),
            "dropout": nn.Dropout(0.7),
            "fc2": nn.Linear(128, dataset.classes),
        }
        return NamedLayers(layers, feature_layer=self.feature_layer)

    def recipe(self, dataset: Dataset) -> Recipe:
        return RECIPES.of(dataset)


class VectorConvolution(FilterBank):
    """From an image (`lifts`) or a vector field (N, C, 2, H, W), x to the right and y up, to a vector field."""

    turns: Tensor
    directions: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int, angles: int, lifts: bool = False) -> None:
        super().__init__()
        self.padding, self.angles, self.lifts = padding, angles, lifts
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1 if lifts else 2, kernel, kernel))
        nn.init.kaiming_normal_(self.weight.view(outputs, -1, kernel, kernel), nonlinearity="relu")
        radians = torch.arange(angles, dtype=torch.float64) * (2 * math.pi / angles)
        directions = torch.stack((radians.cos(), radians.sin()), 1)
        self.register_buffer("turns", turning(kernel, radians).float(), persistent=False)
        self.register_buffer("directions", directions.float(), persistent=False)

    def turned(self) -> Tensor:
        """(outputs·angles, inputs or 2·inputs, k, k): turned in the plane, and a vector filter within as well."""
        outputs, inputs, parts, kernel, _ = self.weight.shape
        filters = (self.weight.flatten(3) @ self.turns).view(outputs, inputs, parts, self.angles, kernel**2)
        if not self.lifts:
            right, up = filters.unbind(2)
            cosine, sine = self.directions.unsqueeze(2).unbind(1)
            filters = torch.stack((cosine * right - sine * up, sine * right + cosine * up), 2)
        return filters.permute(0, 3, 1, 2, 4).reshape(outputs * self.angles, inputs * parts, kernel, kernel)

    def forward(self, fields: Tensor) -> Tensor:
        maps = fields if self.lifts else fields.flatten(1, 2)
        answers = F.conv2d(maps, self.filters(), padding=self.padding)
        count, _, height, width = answers.shape
        strongest, angle = answers.reshape(count, -1, self.angles, height, width).max(2)
        directions: Tensor = self.directions[angle].movedim(-1, 2)
        return strongest.relu().unsqueeze(2) * directions


class VectorMaxPool(nn.Module):
    """The longest vector of every 2 x 2 window."""

    def forward(self, fields: Tensor) -> Tensor:
        lengths = fields.detach().square().sum(2)
        _, place = F.max_pool2d(lengths, 2, return_indices=True)
        chosen = place.flatten(2).unsqueeze(2).expand(-1, -1, 2, -1)
        return fields.flatten(3).gather(3, chosen).view(*fields.shape[:3], *place.shape[2:])


class VectorBatchNorm(nn.Module):
    """Divides the vectors of a channel by the root mean square of their lengths; directions stay."""

    mean_square: Tensor

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean_square", torch.ones(channels))

    def forward(self, fields: Tensor) -> Tensor:
        square = self.mean_square
        if self.training:
            square = fields.square().sum(2).mean((0, 2, 3))
            with torch.no_grad():
                self.mean_square.lerp_(square, self.momentum)
        return fields * (square + 1e-5).rsqrt().view(-1, 1, 1, 1)


class Longest(nn.Module):
    """The length of the longest vector of each channel: no turn changes it."""

    def forward(self, fields: Tensor) -> Tensor:
        squares = fields.square().sum(2).flatten(2).amax(2)
        return squares.clamp_min(1e-12).sqrt()  # the root of zero has no gradient


def turning(kernel: int, radians: Tensor) -> Tensor:
    """(k², R·k²): filters times this are the filters turned counter-clockwise, bilinear, cut to the disc."""
    centre = (kernel - 1) / 2
    along = torch.arange(kernel, dtype=radians.dtype) - centre
    rows, columns = (place.flatten() for place in torch.meshgrid(along, along, indexing="ij"))
    cosine, sine = radians.cos().unsqueeze(1), radians.sin().unsqueeze(1)
    # where each place of the turned filter comes from; rows grow downwards
    column, row = cosine * columns - sine * rows, sine * columns + cosine * rows
    weights = torch.relu(1 - (column.unsqueeze(2) - columns).abs()) * torch.relu(1 - (row.unsqueeze(2) - rows).abs())
    disc = (rows.square() + columns.square() <= (centre + 0.5) ** 2).to(radians.dtype)
    # disc before and after: a corner must not turn into the square, nor out of it
    return (weights * disc.unsqueeze(1) * disc).permute(2, 0, 1).flatten(1)
