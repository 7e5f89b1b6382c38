"""Figure 11: where the gradient of the loss lies, on digits drawn by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advbench import Analysis, Findings, Inputs, Material, Picture, Wanted, mean


@dataclass(frozen=True)
class Heat(Analysis):
    """The size of the gradient pixel by pixel, as pictures, and how far it follows the ink.

    What a person finds interpretable can't be measured; the correlation of the gradient's size with the ink, blurred a
    little, stands in for it.
    """

    name = "heat"

    model: str = "wong2019"
    defense: str = "none"
    count: int = 100
    shown: int = 3

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(Wanted("mnist", self.model, self.defense),))

    def find(self, material: Material) -> Findings:
        judge = material.data("mnist").judge
        drawn = judge[material.draws("heat", judge.ids).uniform(1).squeeze(1).argsort()[: self.count]]
        x = drawn.pixels(material.device).requires_grad_(True)
        logits = material.target("mnist", self.model, self.defense).logits(x)
        loss = F.cross_entropy(logits, drawn.labels.to(material.device), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        size, ink = gradient.abs().cpu(), x.detach().cpu()
        near = F.avg_pool2d(ink, 3, stride=1, padding=1)
        numbers = (mean("correlation of gradient and ink", correlations(size, near).tolist()),)
        return Findings(numbers, (), tuple(self._pictures(ink, size)))

    def _pictures(self, ink: Tensor, size: Tensor) -> Iterator[Picture]:
        for place in range(min(self.shown, len(ink))):
            highest = size[place].max().clamp_min(1e-30)
            yield Picture(f"{place}", torch.cat((ink[place], size[place] / highest), 2), "digit and gradient")


def correlations(one: Tensor, other: Tensor) -> Tensor:
    """Of two images, pixel by pixel; zero where one of them is even."""
    a, b = (part.flatten(1).double() for part in (one, other))
    a, b = (part - part.mean(1, keepdim=True) for part in (a, b))
    below = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(below > 0, (a * b).sum(1) / below.clamp_min(1e-300), 0.0)
