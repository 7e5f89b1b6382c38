"""Table 3: how many test images the networks get right, and by how much they differ on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from advbench import Analysis, Finding, Findings, Inputs, Material, Wanted, at_least, mean, share
from advbench_studies.michels2019.networks import CAPSNET, CONVNET, KINDS, network
from advbench_studies.michels2019.universals import BATCH, answers


@dataclass(frozen=True)
class Accuracies(Analysis):
    """The clean accuracy of both networks, and the difference, image by image, with its interval."""

    name = "accuracies"

    dataset: str = "mnist"
    count: int = at_least(0, default=0)
    """Test images; 0 for all."""

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=tuple(Wanted(self.dataset, network(kind, self.dataset)) for kind in KINDS))

    def find(self, material: Material) -> Findings:
        judge = material.data(self.dataset).judge
        examples = judge[: self.count] if self.count else judge
        right = {kind: torch.zeros(len(examples), dtype=torch.bool) for kind in KINDS}
        for place, kind in enumerate(KINDS):
            target = material.target(self.dataset, network(kind, self.dataset))
            for first in range(0, len(examples), BATCH):
                material.progress((place + first / len(examples)) / 2, f"test images on {target.label}")
                some = examples[first : first + BATCH]
                answered = answers(target.logits, some.pixels(material.device))
                right[kind][first : first + BATCH] = answered.cpu() == some.labels
        gaps = (100.0 * (right[CONVNET].double() - right[CAPSNET].double())).tolist()
        found = [share(f"right · {kind}", int(right[kind].sum()), len(examples)) for kind in KINDS]
        gap: Finding = mean(f"{CONVNET} less {CAPSNET}", gaps, "points")
        return Findings((*found, gap))
