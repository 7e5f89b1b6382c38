"""Section 5.2's grids: which turn is the strongest, and whose digits survive which network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from advbench import Analysis, Finding, Findings, Inputs, JudgedCell, Material, NotFoundError, Picture, mean, share
from advbench_studies.dcosta2019.spreads import spread

EDGE = 1 - 1e-4


@dataclass(frozen=True)
class StrongestTurns(Analysis):
    """Of every digit the transform of the grid at which the network is least sure of the right class.

    Sizes of single digits are told by their median and the limits of 90 % of them.
    Pictures are of digits drawn by chance: before on the left, transformed on the right.
    """

    name = "strongest-turns"

    suite: str = "strongest-turns"
    shown: int = 3

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        found = Findings()
        for cell in material.cells(self.suite):
            found += Findings(tuple(self._numbers(cell)), (), tuple(self._pictures(material, cell)))
        return found

    def _numbers(self, cell: JudgedCell) -> Iterator[Finding]:
        perturbed, label = cell.perturbed(), cell.source.label
        turn, right, down = perturbed.perturbations.abs().T
        degrees, pixels = limits(cell)
        yield spread(f"size of the turn · {label}", (degrees * turn).tolist(), "degrees")
        yield spread(f"shift sideways · {label}", (pixels * right).tolist(), "px")
        yield spread(f"shift up or down · {label}", (pixels * down).tolist(), "px")
        yield share(f"turned as far as allowed · {label}", int((turn >= EDGE).sum()), len(turn))
        moved = torch.maximum(right, down) >= EDGE
        yield share(f"shifted as far as allowed · {label}", int(moved.sum()), len(moved))
        wrong = [row for row in cell.outcomes() if row.predicted != row.label]
        yield mean(f"confidence when wrong · {label}", (100 * (row.confidence or 0.0) for row in wrong), "percent")

    def _pictures(self, material: Material, cell: JudgedCell) -> Iterator[Picture]:
        perturbed = cell.perturbed()
        order = material.draws(f"turns/{cell.source.label}", perturbed.ids).uniform(1).squeeze(1).argsort()
        rows = {row.example: row for row in cell.outcomes()}
        degrees, pixels = limits(cell)
        for place in order[: self.shown].tolist():
            row = rows[int(perturbed.ids[place])]
            turn, right, down = perturbed.perturbations[place].tolist()
            way = "anticlockwise" if turn >= 0 else "clockwise"
            caption = (
                f"digit {row.label}, taken for {row.predicted} with {100 * (row.confidence or 0):.0f} %: "
                f"{abs(degrees * turn):.1f}° {way}, {abs(pixels * right):.0f} px {'right' if right >= 0 else 'left'}, "
                f"{abs(pixels * down):.0f} px {'down' if down >= 0 else 'up'}"
            )
            pair = torch.cat((perturbed.clean[place], perturbed.images[place]), 2)
            yield Picture(f"{cell.source.label} · example {row.example}", pair, caption)


def limits(cell: JudgedCell) -> tuple[float, float]:
    """Degrees and pixels that a coordinate of one stands for."""
    said = cell.row.params or {}
    return float(said.get("degrees", 30.0)), float(said.get("pixels", 3.0))


@dataclass(frozen=True)
class Survivors(Analysis):
    """Digits that one network gets right under a grid and another does not, in each ball of a suite.

    Each network meets the transform that is worst for itself.
    """

    name = "survivors"

    suite: str = "turns"
    one: str = ""
    other: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        numbers: list[Finding] = []
        cells = material.cells(self.suite)
        for threat in dict.fromkeys(cell.threat for cell in cells):
            right = {
                cell.source.label: {row.example: row.predicted == row.label for row in cell.outcomes()}
                for cell in cells
                if cell.threat == threat
            }
            if self.one not in right or self.other not in right:
                raise NotFoundError(f"{threat}: {self.one} and {self.other} were not both attacked")
            ones, others = right[self.one], right[self.other]
            for name, mine, theirs in (("one", ones, others), ("other", others, ones)):
                alone = sum(mine[i] and not theirs[i] for i in mine)
                numbers.append(share(f"only the {name} is right · {threat}", alone, len(mine)))
        return Findings(tuple(numbers))
