"""How large a universal perturbation has to be when a stronger attack looks for it: `universal-pgd` over radii."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import L2, Analysis, Finding, Findings, Inputs, Material, Series, share
from advbench_studies.michels2019.networks import KINDS, network
from advbench_studies.michels2019.suites import radii, universal_pgd


@dataclass(frozen=True)
class Reaches(Analysis):
    """What `universal-pgd` leaves right at each radius, on both networks, and the radius that leaves less than half.

    That radius lies between the last one tried that leaves more and the first that leaves less, which is its value.
    """

    name = "reaches"

    dataset: str = "mnist"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.dataset,))

    def find(self, material: Material) -> Findings:
        suite = self.dataset
        attack = universal_pgd(material.level)
        tried = radii(material.level, self.dataset)
        found: list[Finding] = []
        curves: list[Series] = []
        for kind in KINDS:
            model = network(kind, self.dataset)
            for judge in KINDS:
                on = "" if judge == kind else network(judge, self.dataset)
                points: list[Finding] = []
                for radius in tried:
                    cell = material.cell(suite, model=model, attack=attack, threat=L2(eps=radius).label)
                    rows, clean = cell.outcomes(on), cell.clean(on)
                    right = sum(row.predicted == row.label for row in rows)
                    points.append(share(f"right · {kind} on {judge} · {radius:g}", right, len(rows)))
                    found += [share(f"wrong · {kind} on {judge} · {radius:g}", len(rows) - right, len(rows))]
                    broken = sum(bool(clean.get(row.example)) and row.predicted != row.label for row in rows)
                    found += [share(f"fooled · {kind} on {judge} · {radius:g}", broken, sum(clean.values()))]
                found += points
                quadruples = [
                    (radius, one.value or 0.0, one.low or 0.0, one.high or 0.0)
                    for radius, one in zip(tried, points, strict=True)
                ]
                curves += [Series.of(f"{kind} on {judge}", quadruples)]
                if judge == kind:
                    found += [half(f"half · {kind}", tried, points)]
        return Findings(tuple(found), tuple(curves))


def half(name: str, tried: tuple[float, ...], right: list[Finding]) -> Finding:
    """The first radius that leaves less than half right; where none does, all that is known is that it is larger."""
    before = 0.0
    for radius, one in zip(tried, right, strict=True):
        if one.value is not None and one.value < 50:
            return Finding(name, radius, before, radius, one.n)
        before = radius
    return Finding(name, None, before, None, right[-1].n if right else 0)
