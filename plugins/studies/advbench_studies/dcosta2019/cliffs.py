"""How fast a directed attack takes over as its radius grows: what table 1 shows of one digit, on many images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Examples, Findings, Inputs, Material, Wanted, mean, share
from advbench_studies.dcosta2019.bands import band
from advbench_studies.dcosta2019.descents import descend
from advbench_studies.dcosta2019.optimisers import elsewhere

SURE = 0.9
NARROW = 0.25
"""Of the radius: from 12 to 16 of 255, the span of table 1."""


@dataclass(frozen=True)
class Cliffs(Analysis):
    """Directed attacks at radii from `first` to `last` of 255, each `ratio` times the one before.

    An image's change begins at the last radius at which the network is still 90 % sure of its class, and ends at the
    first one from which on it is 90 % sure of the class aimed at; its width is a share of the radius where it ends.
    Images that are not 90 % sure of their own class at first, or never of the other, have no width.
    """

    name = "cliffs"

    dataset: str = "mnist"
    model: str = "wong2019"
    towards: int = 5
    first: float = 2.0
    last: float = 64.0
    ratio: float = 1.08
    rule: str = "adam"
    rate: float = 0.001
    steps: int = 100
    count: int = 50
    at_once: int = 1024

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(Wanted(self.dataset, self.model),))

    @property
    def radii(self) -> list[float]:
        """In grey levels."""
        count = 1 + math.ceil(math.log(self.last / self.first) / math.log(self.ratio) - 1e-9)
        return [self.first * self.ratio**place for place in range(count)]

    def find(self, material: Material) -> Findings:
        chosen = elsewhere(material.data(self.dataset).judge, self.towards, self.count)
        own, other = self._probabilities(material, chosen)
        radii = torch.tensor(self.radii)
        widths = [one for row in range(len(chosen)) if (one := width(radii, own[row], other[row])) is not None]
        narrow = share("changes within a quarter of the radius", sum(one[1] <= NARROW for one in widths), len(widths))
        numbers = [
            share("images that change within the radii", len(widths), len(chosen)),
            narrow,
            mean("width of the change, as a share of the radius", (one[1] for one in widths)),
            mean("radius where the change ends", (one[0] for one in widths), "of 255"),
        ]
        tables = {"its own class": 100 * own, "the class aimed at": 100 * other}
        series = (band(name, zip(self.radii, table.T.tolist(), strict=True)) for name, table in tables.items())
        return Findings(tuple(numbers), tuple(series))

    def _probabilities(self, material: Material, chosen: Examples) -> tuple[Tensor, Tensor]:
        """Of the own class and of the one aimed at: (images, radii)."""
        ask = material.target(self.dataset, self.model).logits
        radii = torch.tensor(self.radii) / 255
        rows = torch.cartesian_prod(torch.arange(len(chosen)), torch.arange(len(radii)))
        found: list[Tensor] = []
        for part in torch.split(rows, self.at_once):
            material.progress(len(found) * self.at_once / len(rows), "directed attacks at growing radii")
            taken = chosen[part[:, 0]]
            x = taken.pixels(material.device)
            aim = torch.full((len(x),), self.towards, device=x.device)
            radius = radii[part[:, 1]].to(x.device)
            ended = descend(ask, x, aim, radius, rule=self.rule, rate=self.rate, steps=self.steps).images
            with torch.no_grad():
                probability = ask(ended).softmax(1).cpu()
            found.append(
                torch.stack((probability.gather(1, taken.labels.view(-1, 1))[:, 0], probability[:, self.towards]))
            )
        own, other = torch.cat(found, 1).view(2, len(chosen), len(radii))
        return own, other


def width(radii: Tensor, own: Tensor, other: Tensor) -> tuple[float, float] | None:
    """Where an image's change ends, and its width as a share of that; None where it does not begin or end."""
    sure, lost = (own >= SURE).nonzero().flatten(), (other < SURE).nonzero().flatten()
    if len(sure) == 0 or (len(lost) and lost[-1] == len(radii) - 1) or len(lost) == 0:
        return None
    end = radii[lost[-1] + 1].item()
    return end, (end - radii[sure[-1]].item()) / end
