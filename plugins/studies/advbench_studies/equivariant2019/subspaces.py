"""Few directions: how much of a matrix they hold, and how they lie to those of a small turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from advbench import Draws, Finding, Findings, Picture, Series, mean
from advbench_studies.equivariant2019.spectra import (
    Spectrum,
    estimate,
    held_elsewhere,
    mean_dot,
    principal_angles,
    spectra_without,
    spectrum,
    told,
)

TOP = 5
SHOWN = 100
"""Singular values in a chart."""


class Directions:
    """A matrix of unit directions, its spectrum, and the spectra without each tenth of its rows; each found once."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    @cached_property
    def whole(self) -> Spectrum:
        return spectrum(self.rows, 2 * TOP)

    @cached_property
    def parts(self) -> list[Spectrum]:
        return list(spectra_without(self.rows, 2 * TOP))

    @cached_property
    def count(self) -> int:
        """How many images have a direction."""
        return len(told(self.rows))

    def share(self, name: str, count: int) -> Finding:
        """What the first so many directions hold, in percent.

        The interval reaches down to what those of one half of the rows hold of the other half.
        """
        one = self.estimate(name, lambda spectrum: 100 * spectrum.share(count), "percent", 100.0)
        elsewhere = 100 * held_elsewhere(self.rows, count)
        return replace(one, low=min(elsewhere, elsewhere if one.low is None else one.low))

    def estimate(self, name: str, of: Callable[[Spectrum], float], unit: str = "", greatest: float = 1.0) -> Finding:
        return estimate(name, of(self.whole), map(of, self.parts), self.count, unit, 0.0, greatest)


def held(what: str, directions: Directions) -> Findings:
    """How much of the spectrum the first five directions hold."""
    values = directions.whole.squares[: min(SHOWN, directions.count)].sqrt()
    return Findings(
        (
            directions.share(f"top five · {what}", TOP),
            directions.share(f"top one · {what}", 1),
        ),
        (Series.of(f"singular values: {what}", enumerate(values.tolist(), 1)),),
    )


def beside(what: str, attack: Directions, turns: Directions, shift: float = 0.0) -> Findings:
    """Dot products and principal angles between the first directions of an attack and those of small turns.

    A figure has all of them at five and ten; `shift` keeps their marks apart.
    """
    pairs = list(zip(attack.parts, turns.parts, strict=False))
    numbers, points = [], []
    for top in (TOP, 2 * TOP):

        def dot(one: Spectrum, other: Spectrum, top: int = top) -> float:
            return mean_dot(one.vectors[:top], other.vectors[:top])

        found = estimate(
            f"mean |dot| of top {top} · {what}",
            dot(attack.whole, turns.whole),
            [dot(*pair) for pair in pairs],
            attack.count,
            least=0.0,
            greatest=1.0,
        )
        numbers.append(found)
        points.append((top + shift, found.value or 0.0, found.low or 0.0, found.high or 0.0))
    angles = principal_angles(attack.whole.vectors[:TOP], turns.whole.vectors[:TOP]).tolist()
    others = [principal_angles(one.vectors[:TOP], other.vectors[:TOP]).tolist() for one, other in pairs]
    for place, angle in enumerate(angles):
        values = [other[place] for other in others]
        name = f"angle {place + 1} · {what}"
        numbers.append(estimate(name, angle, values, attack.count, "degrees", 0.0, 90.0))
    return Findings(tuple(numbers), (Series.of(f"mean |dot|: {what}", points),))


def by_chance(pixels: int, draws: Draws, times: int = 50) -> Findings:
    """The same for two subspaces drawn at random: what `nearly orthogonal` is to be held against."""
    dots: dict[int, list[float]] = {TOP: [], 2 * TOP: []}
    angles = []
    for _ in range(times):
        for top, found in dots.items():
            one, other = (
                torch.linalg.qr(draws.normal(pixels, top, dtype=torch.float64).cpu()[0]).Q.T for _side in range(2)
            )
            found.append(mean_dot(one, other))
            if top == TOP:
                angles.append(principal_angles(one, other))
    numbers = [mean(f"by chance: mean |dot| of top {top}", found) for top, found in dots.items()]
    for place, values in enumerate(torch.stack(angles).T.tolist(), 1):
        numbers.append(mean(f"by chance: angle {place}", values, "degrees"))
    return Findings(tuple(numbers))


def pictured(what: str, directions: Tensor, shape: tuple[int, ...]) -> tuple[Picture, ...]:
    """The first singular vectors as images, grey where a pixel has no part in them."""
    return tuple(
        Picture(
            f"{what} {place}",
            (0.5 + v / (2 * v.abs().max().clamp_min(1e-12))).view(shape),
            caption=f"{what}, singular vector {place}",
            of_data=False,
        )
        for place, v in enumerate(directions[:TOP], 1)
    )
