"""The smallest perturbation of each image that any attack found: what a network resists at most."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Findings, Inputs, Material, NotFoundError, mean
from advbench_studies.michels2019.networks import CAPSNET, CONVNET, KINDS, network
from advbench_studies.michels2019.suites import SIZES


@dataclass(frozen=True)
class Smallest(Analysis):
    """Over images that both networks get right when clean, so that they are compared on the same ones.

    All attacks that leave the label and look for the smallest perturbation are asked: the paper's two and the stronger
    ones, on the images that the stronger ones were given.
    """

    name = "smallest"

    dataset: str = "mnist"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.dataset,))

    def find(self, material: Material) -> Findings:
        best: dict[str, dict[int, float]] = {}
        for place, kind in enumerate(KINDS):
            material.progress(place / 2, f"smallest perturbations of {kind}")
            model = network(kind, self.dataset)
            cells = [
                cell for cell in material.cells(self.dataset, model=model, goal="untargeted") if cell.row.minimizes
            ]
            stronger = [cell for cell in cells if cell.attack in SIZES[material.level].strong]
            if not stronger:
                raise NotFoundError(f"none of the stronger attacks on {model} was finished")
            tried = {i for cell in stronger for i, was in cell.clean().items() if was}
            best[kind] = dict.fromkeys(tried, float("inf"))
            for cell in cells:
                for row in cell.outcomes():
                    if row.example in tried and row.reached and row.violation is None:
                        best[kind][row.example] = min(best[kind][row.example], float(row.size))
        found = {kind: {i: size for i, size in best[kind].items() if size < float("inf")} for kind in KINDS}
        both = sorted(found[CONVNET].keys() & found[CAPSNET].keys())
        return Findings(
            (
                *(mean(f"smallest · {kind}", [found[kind][i] for i in both]) for kind in KINDS),
                mean(f"{CAPSNET} less {CONVNET}", [found[CAPSNET][i] - found[CONVNET][i] for i in both]),
            )
        )
