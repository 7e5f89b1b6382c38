"""One vector for all images: how many it fools by its norm, either way, beside random directions and clean errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advbench import Draws, Finding, Findings, Series, share
from advbench_studies.equivariant2019.directions import Network
from advbench_studies.equivariant2019.fooling import misclassified
from advbench_studies.equivariant2019.spectra import Z95

GOAL = 80.0
"""Percent of the inputs: the least that the paper says are fooled."""


@dataclass
class Trials:
    """Images that vectors are tried on, at a grid of norms."""

    network: Network
    images: Tensor
    labels: Tensor
    norms: Sequence[float]
    heard: Callable[[], None]
    clean: int = field(default=0)

    def __post_init__(self) -> None:
        self.clean = misclassified(self.network, self.images, self.labels, torch.zeros_like(self.images[0]), [0.0])[0]

    @property
    def count(self) -> int:
        return len(self.labels)

    def wrong(self, vector: Tensor, clip: bool) -> list[int]:
        return misclassified(
            self.network,
            self.images,
            self.labels,
            vector.to(self.images.device),
            self.norms,
            clip=clip,
            heard=self.heard,
        )

    def either_way(self, what: str, vectors: Sequence[Tensor], clip: bool) -> Findings:
        """Of one or several vectors: what each sign fools, and the better of the two at every norm."""
        pairs = [(self.wrong(v, clip), self.wrong(-v, clip)) for v in vectors]
        better = [[max(one, other) for one, other in zip(*pair, strict=True)] for pair in pairs]
        numbers = [
            over_draws(f"fooled{_clipped(clip)} · {what} · norm {norm:g}", [one[place] for one in better], self.count)
            for place, norm in enumerate(self.norms)
        ]
        numbers.append(self._reached(what, better, clip))
        series = [
            self._curve(f"fooled{_clipped(clip)}: {what} · {sign}v", [pair[side] for pair in pairs])
            for side, sign in enumerate("+−")
        ]
        return Findings(tuple(numbers), tuple(series))

    def at_random(self, draws: Draws, times: int) -> Findings:
        """Random directions of the same norms, with the clip and without, and the clean error."""
        pixels = self.images[0].numel()
        drawn = [draws.normal(pixels, dtype=torch.float64).cpu()[0] for _ in range(times)]
        found = Findings(
            (share("clean error", self.clean, self.count),),
            (self._curve("clean error", [[self.clean] * len(self.norms)]),),
        )
        for clip in (False, True):
            head, what = f"fooled{_clipped(clip)}", "random direction"
            counts = [self.wrong(v / v.norm(), clip) for v in drawn]
            numbers = tuple(
                over_draws(f"{head} · {what} · norm {norm:g}", [one[place] for one in counts], self.count)
                for place, norm in enumerate(self.norms)
            )
            found += Findings((*numbers, self._reached(what, counts, clip)), (self._curve(f"{head}: {what}", counts),))
        return found

    def _curve(self, name: str, counts: Sequence[Sequence[int]]) -> Series:
        points = []
        for place, norm in enumerate([0.0, *self.norms]):
            one = over_draws(name, [run[place - 1] if place else self.clean for run in counts], self.count)
            points.append((norm, one.value or 0.0, one.low or 0.0, one.high or 0.0))
        return Series.of(name, points)

    def _reached(self, what: str, counts: Sequence[Sequence[int]], clip: bool) -> Finding:
        places = range(len(self.norms))
        rates = [100 * math.fsum(run[place] for run in counts) / len(counts) / self.count for place in places]
        start = 100 * self.clean / self.count
        norm = first_reached([0.0, *self.norms], [start, *rates], GOAL)
        return Finding(f"norm that fools {GOAL:g} %{_clipped(clip)} · {what}", norm, n=self.count)


def _clipped(clip: bool) -> str:
    return ", clipped" if clip else ""


def first_reached(norms: Sequence[float], rates: Sequence[float], goal: float) -> float | None:
    """The smallest norm at which the line through the rates reaches the goal; None where none does."""
    for place, rate in enumerate(rates):
        if rate >= goal:
            if place == 0:
                return norms[0]
            before = rates[place - 1]
            return norms[place - 1] + (norms[place] - norms[place - 1]) * (goal - before) / (rate - before)
    return None


def over_draws(name: str, counts: Sequence[int], n: int) -> Finding:
    """The mean share over several draws, in percent; its interval holds what the images and what the draws leave open.

    The draws are tried on the same images, so the images count once.
    """
    if len(counts) == 1 or n == 0:
        return share(name, counts[0], n)
    rates = [100 * count / n for count in counts]
    middle = math.fsum(rates) / len(rates)
    between = Z95**2 * math.fsum((rate - middle) ** 2 for rate in rates) / (len(rates) - 1) / len(rates)
    low, high = (100 * edge for edge in _of_images(middle / 100, n))
    below, above = (math.hypot(edge - middle, math.sqrt(between)) for edge in (low, high))
    return Finding(name, middle, max(0.0, middle - below), min(100.0, middle + above), n, "percent")


def _of_images(rate: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a share that need not be a whole number of so many images."""
    centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
    return centre - half, centre + half
