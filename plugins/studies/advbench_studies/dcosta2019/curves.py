"""Accuracy over the radius: figures 4 and 8, and the sentence about 40/255."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, Material, Series, share
from advbench_studies.dcosta2019.bands import through

LIMIT = 90.0


@dataclass(frozen=True)
class Curves(Analysis):
    """A curve for every target and attack of a suite; goals that aim at a class are named.

    `shown` is `right` (share that the network still gets right) or `fooled` (the rest). `times` turns radii into the
    unit of the figure, 255 for grey levels.
    """

    name = "curves"

    suite: str = ""
    shown: str = "right"
    times: float = 1.0

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        curves: dict[str, list[tuple[float, Finding]]] = {}
        for cell in sorted(material.cells(self.suite), key=lambda cell: cell.row.eps or 0.0):
            rows, radius = cell.outcomes(), self.times * (cell.row.eps or 0.0)
            kept = sum(row.predicted == row.label for row in rows)
            hits = kept if self.shown == "right" else len(rows) - kept
            name = curve_name(cell.source.label, cell.attack, cell.goal)
            curves.setdefault(name, []).append((radius, share(point_name(self.shown, name, radius), hits, len(rows))))
        numbers = [one for curve in curves.values() for _, one in curve]
        if self.shown == "right":
            numbers += [falls(name, curve) for name, curve in curves.items()]
        series: list[Series] = [through(name, curve) for name, curve in curves.items()]
        return Findings(tuple(numbers), tuple(series))


def curve_name(target: str, attack: str, goal: str = "untargeted") -> str:
    return f"{target} · {attack}" + ("" if goal == "untargeted" else f" → {goal}")


def point_name(shown: str, curve: str, radius: float) -> str:
    return f"{shown} · {curve} · {radius:.6g}"


def falls(name: str, curve: list[tuple[float, Finding]]) -> Finding:
    """The first radius at which accuracy is below 90 %; unknown where it never is."""
    below = (radius for radius, one in curve if one.value is not None and one.value < LIMIT)
    return Finding(f"first radius below 90 % · {name}", next(below, None), n=curve[-1][1].n)
