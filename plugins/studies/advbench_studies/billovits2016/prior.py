"""The density prior of section 6: what share of the sure adversarial examples it corrects, by three readings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from advbench import Analysis, Findings, Inputs, Material, Wanted, mean, share
from advbench_studies.billovits2016.one_step import SURE, step

PRIOR = "kde-prior"
READINGS = ("the true label again", "the clean label or the true one again", "that, or below 50 %")
TOGETHER = 64


@dataclass(frozen=True)
class Mitigated(Analysis):
    """Of the images of which one step makes the bare network sure of another class, how many the posterior corrects.

    It is asked about those images; `aware`, about the same photos after a step of one who knows the prior.
    """

    name = "mitigated"

    dataset: str = "mnist"
    model: str = "vgg-small"
    eps: float = 0.1
    count: int = 500
    aware: bool = False

    @property
    def inputs(self) -> Inputs:
        targets = (Wanted(self.dataset, self.model), Wanted(self.dataset, self.model, PRIOR))
        return Inputs(targets=targets, data=(self.dataset,))

    def find(self, material: Material) -> Findings:
        bare = material.target(self.dataset, self.model).net
        posterior = material.target(self.dataset, self.model, PRIOR).net
        examples = material.data(self.dataset).judge[: self.count]
        told = dict.fromkeys(READINGS, 0)
        sure_ones = right = right_behind = 0
        densities: list[float] = []
        for first in range(0, len(examples), TOGETHER):
            some = examples[first : first + TOGETHER]
            images, labels = some.pixels(material.device), some.labels.to(material.device)
            moved = step(bare, images, labels, self.eps)
            known = step(posterior, images, labels, self.eps) if self.aware else moved
            with torch.no_grad():
                clean = bare(images).argmax(1)
                seen, after = bare(moved).softmax(1), posterior(known).softmax(1)
                right += int((clean == labels).sum())
                right_behind += int((posterior(images).argmax(1) == labels).sum())
            sure = (seen.argmax(1) != clean) & (seen.amax(1) > SURE)
            answer = after.argmax(1)
            true, back = answer == labels, (answer == clean) | (answer == labels)
            for name, hit in zip(READINGS, (true, back, back | (after.amax(1) <= SURE)), strict=True):
                told[name] += int((hit & sure).sum())
            sure_ones += int(sure.sum())
            densities += after.amax(1)[sure].tolist()
            material.progress(first / len(examples), f"{first} of {len(examples)} images")
        n = len(examples)
        return Findings(
            (
                share("sure adversarial examples", sure_ones, n),
                *(share(name, hits, sure_ones) for name, hits in told.items()),
                mean("posterior probability of the answer", [100 * one for one in densities], "percent"),
                share("right without the prior", right, n),
                share("right with the prior", right_behind, n),
            )
        )
