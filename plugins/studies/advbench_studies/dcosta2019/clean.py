"""How often a network is right on unperturbed images: all of the judged part, not only those that are attacked."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from advbench import Analysis, Findings, Inputs, Material, Wanted, share

AT_ONCE = 500
RIGHT = "right when clean"


@dataclass(frozen=True)
class Clean(Analysis):
    name = "clean"

    dataset: str = "mnist"
    model: str = "wong2019"
    defense: str = "none"

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(Wanted(self.dataset, self.model, self.defense),))

    def find(self, material: Material) -> Findings:
        target, examples = material.target(self.dataset, self.model, self.defense), material.data(self.dataset).judge
        hits = 0
        with torch.no_grad():
            for first in range(0, len(examples), AT_ONCE):
                material.progress(first / len(examples), "clean images")
                part = examples[first : first + AT_ONCE]
                answered = target.logits(part.pixels(material.device)).argmax(1).cpu()
                hits += int((answered == part.labels).sum())
        return Findings((share(RIGHT, hits, len(examples)),))
