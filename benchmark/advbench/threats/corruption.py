"""Corruptions of kind and severity (Mu and Gilmer, 2019, arXiv:1906.02337), as a ball whose radius is the severity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advbench.draws import Draws
from advbench.threats.corruptions import KINDS, NAMES
from advbench.threats.threat import Threat

SEEDS = 1 << 20
"""How many renderings a kind with chance in it has; float32 holds such numbers exactly."""


@dataclass(frozen=True)
class Corruption(Threat):
    """Corruptions of kind and severity; the radius is the severity.

    Perturbations (N, 3): the number of the kind in `kinds`, the severity from 0 to 1, a seed.
    All that is random in a corruption follows from the seed and the place of the pixel, so that the three numbers give
    the image back. It is drawn in float64, on any device, and cut to [0, 1]. A radius above 1 is as good as 1.
    """

    name = "corruption"
    kinds: ClassVar[tuple[str, ...]] = tuple(NAMES)
    seeds: ClassVar[int] = SEEDS
    # no geometry is offered: kinds and seeds are names, and a random kind at a random severity is no fair guess
    # three numbers, stored as they are: only their own rounding is to be forgiven
    tolerance: ClassVar[float] = 1e-6

    eps: float = 1.0

    def farthest(self, shape: tuple[int, ...]) -> float:
        return 1.0

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 3)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        kind, seed = draws.integers(len(NAMES)), draws.integers(SEEDS)
        severity = draws.uniform(dtype=x.dtype) * min(self.eps, 1.0)
        return torch.stack((kind.to(x.dtype), severity, seed.to(x.dtype)), 1)

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        """Differentiable in the severity alone, and only where the kind is: `jpeg` and `quantize` round."""
        kinds, _, seeds = (
            self._nearest(p.detach(), 1.0).nan_to_num(0).long().unbind(1)
        )  # NaN is no kind: see the referee
        severity = p[:, 1].clamp(0, 1).double()[:, None, None, None]
        wide = x.double()
        images = wide
        for number in sorted(set(kinds.tolist())):
            rows = (kinds == number).nonzero().squeeze(1)
            draws = Draws(0, f"corruption/{NAMES[number]}", seeds[rows])
            corrupted = KINDS[NAMES[number]](wide[rows], severity[rows], draws)
            images = images.index_copy(0, rows, corrupted.clamp(0, 1))
        # no severity is no change, to the last bit
        return torch.where(severity > 0, images.to(x.dtype), x)

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return self._nearest(p, min(self.eps, 1.0))

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Only the severity is a direction; kinds and seeds are names."""
        step = torch.zeros_like(gradient)
        step[:, 1] = gradient[:, 1].sign().nan_to_num(0)
        return step

    def words(self, x: Tensor, p: Tensor) -> list[str]:
        kinds, severities, _ = self._nearest(p, 1.0).unbind(1)
        return [
            f"{NAMES[int(kind)]}, severity {severity:.2f}"
            for kind, severity in zip(kinds.tolist(), severities.tolist(), strict=True)
        ]

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return p[:, 1].abs()

    def coordinates(self, x: Tensor, p: Tensor) -> Tensor:
        return (p - self._nearest(p, 1.0)).abs().amax(1)

    def _nearest(self, p: Tensor, most: float) -> Tensor:
        """Whole numbers for kind and seed, and a severity from 0 to `most`."""
        kind, severity, seed = p.unbind(1)
        kind, seed = kind.round().clamp(0, len(NAMES) - 1), seed.round().clamp(0, SEEDS - 1)
        return torch.stack((kind, severity.clamp(0, most), seed), 1)
