"""Figure 13: what a perturbation of a photo looks like, in numbers, since no picture of these photos is published."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Findings, Inputs, Material, mean
from advbench_studies.dcosta2019.bands import band
from advbench_studies.dcosta2019.deltas import fooling, shuffled
from advbench_studies.dcosta2019.spectra import BANDS, bands, coarse


@dataclass(frozen=True)
class Structure(Analysis):
    """How many pixels are at the limit, and the energy by spatial frequency against the same pixels shuffled."""

    name = "structure"

    target: str = "efficientnet-lite0"
    suite: str = "photos"
    attack: str = "pgd"
    goal: str = "untargeted"
    threat: str = "linf"
    eps: float = 2 / 255

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        deltas = fooling(
            material, self.suite, target=self.target, attack=self.attack, goal=self.goal, threat=self.threat
        )
        if len(deltas) == 0:
            return Findings((mean("pixels at the limit", (), "percent"),))
        changes = deltas.changes
        full = (changes.abs() >= 0.99 * self.eps).flatten(1).float().mean(1)
        own = bands(changes)
        noise = bands(shuffled(changes, material.draws("shuffled", deltas.ids)))
        numbers = (
            mean("pixels at the limit", (100 * full).tolist(), "percent"),
            mean("energy in the lowest quarter of frequencies", (100 * coarse(own)).tolist(), "percent"),
            mean("the same, shuffled", (100 * coarse(noise)).tolist(), "percent"),
        )
        series = (
            band(name, (((place + 0.5) / (2 * BANDS), (100 * share).tolist()) for place, share in enumerate(table.T)))
            for name, table in (("perturbation", own), ("shuffled", noise))
        )
        return Findings(numbers, tuple(series))
