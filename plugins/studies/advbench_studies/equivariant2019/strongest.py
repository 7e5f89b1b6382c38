"""Universal perturbations that the benchmark's attacks found, as curves over the norm."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Findings, Inputs, Material, Series, share
from advbench_studies.equivariant2019.networks import FOOLED, NETWORKS

SUITE = "universal"


@dataclass(frozen=True)
class UniversalCurves(Analysis):
    """How many digits are misclassified under one perturbation for all, by attack and norm; clean errors included."""

    name = "universal-curves"

    norms: tuple[float, ...]

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(SUITE,))

    def find(self, material: Material) -> Findings:
        numbers, series = [], []
        for place, network in enumerate(FOOLED):
            material.progress(place / len(FOOLED), network)
            attacks = dict.fromkeys(cell.attack for cell in material.cells(SUITE, model=NETWORKS[network].model))
            for attack in attacks:
                points = []
                for norm in self.norms:
                    cell = material.cell(
                        SUITE, model=NETWORKS[network].model, attack=attack, threat=f"l2(eps={norm:g})"
                    )
                    rows = cell.outcomes()
                    wrong = sum(row.predicted != row.label for row in rows)
                    one = share(wrong_name(network, attack, norm), wrong, len(rows))
                    numbers.append(one)
                    points.append((norm, one.value or 0.0, one.low or 0.0, one.high or 0.0))
                series.append(Series.of(f"{network}: {attack}", points))
        return Findings(tuple(numbers), tuple(series))


def wrong_name(network: str, attack: str, norm: float) -> str:
    return f"misclassified · {network} · {attack} · norm {norm:g}"
