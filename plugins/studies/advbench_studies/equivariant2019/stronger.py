"""The same measurements on the smallest perturbations that there are, instead of the paper's three directions."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Findings, Inputs, Material, at_least, mean
from advbench_studies.equivariant2019.directions import small_turns
from advbench_studies.equivariant2019.networks import DATA, NETWORKS
from advbench_studies.equivariant2019.principal import shuffled
from advbench_studies.equivariant2019.spectra import unit
from advbench_studies.equivariant2019.subspaces import Directions, beside, held, pictured
from advbench_studies.equivariant2019.theorems import theorem_1, theorem_2

SUITE = "smallest"


@dataclass(frozen=True)
class Smallest(Analysis):
    """Spectrum, angles and both theorems of the perturbations that `fmn` found, in l2 and within [0, 1]."""

    name = "smallest"

    network: str
    attack: str = "fmn"
    sample: int = at_least(2, default=500)  # the smaller sample
    sampled: tuple[int, ...] = (10, 30, 100, 300)  # sizes for theorem 2
    draws: int = at_least(1, default=3)

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(SUITE,), data=(DATA,))

    def find(self, material: Material) -> Findings:
        material.progress(0.0, self.network)
        found = material.cell(SUITE, model=NETWORKS[self.network].model, attack=self.attack).perturbed()
        moved = found.images - found.clean
        there = moved.flatten(1).norm(dim=1) > 1e-6  # not where the image was wrong already, or nothing was found
        moved, clean = moved[there].cpu(), found.clean[there].cpu()
        attack = Directions(unit(moved))
        turns = Directions(unit(small_turns(clean)))
        few = shuffled(material, "smallest", len(moved))[: self.sample]
        lengths = moved.flatten(1).norm(dim=1).tolist()
        numbers = Findings((mean("mean norm", lengths),))
        for what, one, other in (
            ("sample", Directions(attack.rows[few]), Directions(turns.rows[few])),
            ("all", attack, turns),
        ):
            numbers += held(f"fmn · {what}", one) + beside(f"fmn · {what}", one, other)
        material.progress(0.6, f"{self.network}: theorems")
        numbers += theorem_1("fmn", attack.rows)
        numbers += theorem_2(
            "fmn",
            attack.rows,
            self.sampled,
            lambda size, time: material.draws(f"smallest/{size}/{time}").integers(2**31 - 1, size)[0],
            self.draws,
        )
        return numbers + Findings(pictures=pictured("fmn", attack.whole.vectors, tuple(moved.shape[1:])))
