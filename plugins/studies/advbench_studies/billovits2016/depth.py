"""How far activations move by depth: figures 7 and 8 for many images, absolute and relative, and the largest filter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Findings, Inputs, Material, Picture, Series, Wanted, activations, mean
from advbench_studies.billovits2016.one_step import EPS, TOGETHER, step

LAYERS = {
    "vgg-small": ("conv1_2", "conv2_1", "conv3_1", "relu6", "relu7", "fc8"),
    "efficientnet-lite0": ("_conv_stem", "_blocks.2", "_blocks.6", "_blocks.10", "_blocks.15", "features", "_fc"),
}
CONVOLUTIONS = {"vgg-small": 3, "efficientnet-lite0": 5}
"""How many of these layers are convolutions; the others are behind them."""


@dataclass(frozen=True)
class Depth(Analysis):
    """The difference that one step makes at each layer, as a root mean square and as a share of the activations."""

    name = "depth"

    dataset: str = "imagenet-samples"
    model: str = "efficientnet-lite0"
    eps: float = EPS
    count: int = 100
    pictures: int = 0

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(Wanted(self.dataset, self.model),), data=(self.dataset,))

    def find(self, material: Material) -> Findings:
        net = material.target(self.dataset, self.model).net
        names = LAYERS[self.model]
        examples = material.data(self.dataset).judge[: self.count]
        absolute: dict[str, list[float]] = {name: [] for name in names}
        relative: dict[str, list[float]] = {name: [] for name in names}
        pictures: list[Picture] = []
        for first in range(0, len(examples), TOGETHER):
            some = examples[first : first + TOGETHER]
            images, labels = some.pixels(material.device), some.labels.to(material.device)
            stepped = step(net, images, labels, self.eps)
            with torch.no_grad():
                before, after = activations(net, images, names), activations(net, stepped, names)
            for name in names:
                moved = after[name] - before[name]
                absolute[name] += moved.flatten(1).square().mean(1).sqrt().tolist()
                size = before[name].flatten(1).norm(dim=1).clamp_min(1e-12)
                relative[name] += (moved.flatten(1).norm(dim=1) / size).tolist()
            for row in range(len(images)):
                if len(pictures) < self.pictures * 4:
                    pictures += self._pictures(
                        first + row, images[row], {n: (before[n][row], after[n][row]) for n in names}
                    )
            material.progress(first / len(examples), f"{first} of {len(examples)} images")
        numbers = [mean(f"absolute at {name}", absolute[name]) for name in names]
        numbers += [mean(f"relative at {name}", relative[name]) for name in names]
        found = {one.name: one for one in numbers}
        series = tuple(
            Series.of(
                kind,
                [
                    (place, one.value or 0.0, *(() if one.low is None or one.high is None else (one.low, one.high)))
                    for place, name in enumerate(names)
                    if (one := found[f"{kind} at {name}"])
                ],
            )
            for kind in ("absolute", "relative")
        )
        return Findings(tuple(numbers), series, tuple(pictures))

    def _pictures(self, place: int, image: Tensor, layers: dict[str, tuple[Tensor, Tensor]]) -> list[Picture]:
        """The image, and at three depths the filter that moved most."""
        shown = [Picture(f"{place}: image", image.cpu())]
        convolutions = list(layers)[: CONVOLUTIONS[self.model]]
        for name in (convolutions[0], convolutions[len(convolutions) // 2], convolutions[-1]):
            before, after = layers[name]
            shown.append(
                Picture(f"{place}: {name}", largest_filter(after - before), f"the filter that moved most at {name}")
            )
        return shown


def largest_filter(moved: Tensor) -> Tensor:
    """(1, H, W): how far the filter of the largest length moved, as a share of its largest value."""
    most = moved[int(moved.flatten(1).norm(dim=1).argmax())].abs()
    return (most / most.amax().clamp_min(1e-12)).unsqueeze(0).cpu()
