"""How large shifts, turns and l∞ perturbations are in the Wasserstein distance: section 6.1, and figure 5's example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Examples, Finding, Findings, Inputs, Material, Picture, RotateShift, mean, share
from advbench_studies.dcosta2019.transport import Distance, distance

DEGREES, PIXELS = 20.0, 3.0
SHIFT = "shift by 1 px"
WAYS: tuple[tuple[str, tuple[float, float, float]], ...] = (
    (SHIFT, (0, 1, 0)),
    ("shift by 1 px along both sides", (0, 1, 1)),
    ("shift by 2 px", (0, 2, 0)),
    ("shift by 3 px", (0, 3, 0)),
    ("turn by 5°", (5, 0, 0)),
    ("turn by 10°", (10, 0, 0)),
    ("turn by 20°", (20, 0, 0)),
    ("turn by 20° and shift by 3 px along both sides", (20, 3, 3)),
)
GREYS = (("random l∞ change of 15/255", 15 / 255), ("random l∞ change of 0.3", 0.3))


@dataclass(frozen=True)
class Sizes(Analysis):
    """Costs of the best plan, distance² for each unit of mass, of digits drawn by chance.

    Every number lies between a bound from below and one from above. `within 1` is the share of
    digits that the ball of radius 1 reaches, by the bound from above and to a hundredth, in a window as large as the
    image.
    """

    name = "sizes"

    count: int = 20

    @property
    def inputs(self) -> Inputs:
        return Inputs(data=("mnist",))

    def find(self, material: Material) -> Findings:
        judge = material.data("mnist").judge
        order = material.draws("sizes", judge.ids).uniform(1).squeeze(1).argsort()
        drawn = judge[order[: self.count]]
        x = drawn.pixels()
        numbers: list[Finding] = []
        changes: list[tuple[str, Callable[[Tensor], Tensor]]] = [(name, turned(*how)) for name, how in WAYS]
        changes += [(name, self._grey(material, drawn, name, eps)) for name, eps in GREYS]
        for place, (name, change) in enumerate(changes):
            material.progress(place / len(changes), name)
            found = [distance(a[0], b[0]) for a, b in zip(x, change(x), strict=True)]
            numbers += self._numbers(name, found)
        return Findings(tuple(numbers), (), tuple(figure_5(x[:1])))

    def _numbers(self, name: str, found: list[Distance]) -> Iterator[Finding]:
        wide = mean(name, (one.middle for one in found), "px²")
        low, high = (sum(side) / len(found) for side in zip(*((one.low, one.high) for one in found), strict=True))
        yield wide
        yield Finding(f"{name}: bounds of the mean", (low + high) / 2, low, high, len(found), "px²")
        yield share(f"{name}: within 1", sum(one.high <= 1.01 for one in found), len(found))

    def _grey(self, material: Material, drawn: Examples, name: str, eps: float) -> Callable[[Tensor], Tensor]:
        signs = material.draws(f"sizes/{name}", drawn.ids).sign(*drawn.images.shape[1:])
        return lambda x: (x + eps * signs).clamp(0, 1)


def turned(degrees: float, right: float, down: float) -> Callable[[Tensor], Tensor]:
    ball = RotateShift(degrees=DEGREES, pixels=PIXELS)
    p = torch.tensor([degrees / DEGREES, right / PIXELS, down / PIXELS])
    return lambda x: ball.apply(x, p.expand(len(x), 3)).clamp(0, 1)


def figure_5(x: Tensor) -> Iterator[Picture]:
    """A digit, moved by one pixel and made greyer: near in one distance, far in the other."""
    moved, grey = turned(0, 1, 0)(x), 0.7 * x + 0.15
    for name, other in (("moved", moved), ("grey", grey)):
        cost = distance(x[0, 0], other[0, 0])
        caption = f"{name}: Wasserstein cost {cost.middle:.2f}, l∞ {float((other - x).abs().max()):.2f}"
        yield Picture(f"figure 5, {name}", torch.cat((x[0], other[0]), 2), caption)
