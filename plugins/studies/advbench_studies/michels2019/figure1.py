"""Figure 1: images, adversarial images and perturbations of a capsule network, drawn by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Findings, Inputs, JudgedCell, Material, Picture, at_least
from advbench_studies.michels2019.networks import CAPSNET, network
from advbench_studies.michels2019.suites import DEEPFOOL, SIZES, universal_attack

GAP = 2
"""White pixels between the three."""


@dataclass(frozen=True)
class Triptychs(Analysis):
    """For each attack some successes on images that the network gets right when clean."""

    name = "triptychs"

    dataset: str = "mnist"
    count: int = at_least(1, default=2)

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.dataset,))

    def find(self, material: Material) -> Findings:
        model = network(CAPSNET, self.dataset)
        sizes = SIZES[material.level]
        attacks = (sizes.cw, sizes.boundary, DEEPFOOL, universal_attack(material.level, self.dataset, 0))
        cells = [material.cell(self.dataset, model=model, attack=attack) for attack in attacks]
        pictures: list[Picture] = []
        for place, cell in enumerate(cells):
            material.progress(place / len(cells), cell.attack)
            pictures += self._of(cell, material)
        return Findings(pictures=tuple(pictures))

    def _of(self, cell: JudgedCell, material: Material) -> Iterator[Picture]:
        outcomes, clean = {row.example: row for row in cell.outcomes()}, cell.clean()
        ids = [i for i, row in outcomes.items() if row.reached and row.violation is None and clean.get(i)]
        if not ids:
            return
        order = material.draws(f"figure-1/{cell.attack}", ids).uniform(1).squeeze(1).argsort().tolist()
        crafted = cell.perturbed()
        place = {example: row for row, example in enumerate(crafted.ids.tolist())}
        attack = cell.attack.partition("(")[0]
        names = material.datasets[self.dataset][0].class_names

        def called(label: int | None) -> str:
            return names[label] if label is not None and 0 <= label < len(names) else str(label)

        for number, example in enumerate(ids[i] for i in order[: self.count]):
            row, at = outcomes[example], place[example]
            words = f"{attack}: {called(row.label)}, taken for {called(row.predicted)}; l2 norm {row.size:.2f}"
            yield Picture(f"{attack} · {number + 1}", triptych(crafted.clean[at], crafted.images[at]), words)


def triptych(clean: Tensor, moved: Tensor) -> Tensor:
    """The image, the adversarial one and the difference beside each other; of the difference grey is no change."""
    white = torch.ones(*clean.shape[:2], GAP)
    return torch.cat([clean, white, moved, white, ((moved - clean) / 2 + 0.5)], 2)
