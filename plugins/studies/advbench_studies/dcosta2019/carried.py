"""Figures 15 and 16, and a sentence of 5.2: what a perturbation does to images that it was not made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Examples, Finding, Findings, Inputs, Material, Wanted, share
from advbench_studies.dcosta2019.asking import probabilities
from advbench_studies.dcosta2019.deltas import Deltas, fooling, shuffled
from advbench_studies.dcosta2019.spreads import spread

OTTER, BEAVER = 360, 337


@dataclass(frozen=True)
class Carried(Analysis):
    """Each perturbation that fooled, on another image drawn by chance, and on the mirrored image where `mirrored`.

    Counted is how often the network's answer is another one than without it. Beside stands the same perturbation with
    its pixels shuffled: as large, without structure. Confidences are medians, with the limits of 90 % of the images.
    """

    name = "carried"

    dataset: str = "imagenet-samples"
    model: str = "efficientnet-lite0"
    target: str = "efficientnet-lite0"
    suite: str = "photos"
    attack: str = "pgd"
    goal: str = "untargeted"
    threat: str = "linf"
    mirrored: bool = True
    larger: float = 7.0

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,), targets=(self.wanted,))

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.dataset, self.model)

    @property
    def aim(self) -> int | None:
        return int(self.goal.removeprefix("class=")) if self.goal.startswith("class=") else None

    def find(self, material: Material) -> Findings:
        deltas = fooling(
            material, self.suite, target=self.target, attack=self.attack, goal=self.goal, threat=self.threat
        )
        judge = material.data(self.dataset).judge
        noise = shuffled(deltas.changes, material.draws("shuffled", deltas.ids)) if len(deltas) else deltas.changes
        numbers: list[Finding] = [Finding("perturbations that fooled", float(len(deltas)), n=len(deltas))]
        if self.mirrored:
            numbers += self._on(material, deltas, noise, deltas.clean.flip(-1), "mirrored")
        drawn = material.draws("others", deltas.ids).uniform(1).squeeze(1)
        others = partners(judge, deltas, drawn, kin=False, aim=-1 if self.aim is None else self.aim)
        numbers += self._on(material, deltas, noise, others, "another image")
        kin = partners(judge, deltas, material.draws("kin", deltas.ids).uniform(1).squeeze(1), kin=True)
        if not self.mirrored:
            numbers += self._on(material, deltas, noise, kin, "another of its class")
        numbers += self._otter(material, deltas, judge)
        return Findings(tuple(numbers))

    def _on(self, material: Material, deltas: Deltas, noise: Tensor, images: Tensor, what: str) -> Iterator[Finding]:
        before = probabilities(material, self.wanted, images)
        yield spread(f"{what}: confidence before", (100 * before.amax(1)).tolist(), "percent")
        added = [("", deltas.changes), (" shuffled", noise), (f" times {self.larger:g}", self.larger * deltas.changes)]
        added += [(f" shuffled, times {self.larger:g}", self.larger * noise)]
        for how, change in added:
            after = probabilities(material, self.wanted, (images + change).clamp(0, 1))
            moved = after.argmax(1) != before.argmax(1)
            yield share(f"{what}: other answer{how}", int(moved.sum()), len(moved))
            yield spread(f"{what}: confidence in it{how}", (100 * after.amax(1)[moved]).tolist(), "percent")
            if self.aim is not None:
                yield share(f"{what}: the class aimed at{how}", int((after.argmax(1) == self.aim).sum()), len(moved))

    def _otter(self, material: Material, deltas: Deltas, judge: Examples) -> Iterator[Finding]:
        """The report's otter is not at hand; the photos have one of their own."""
        if not self.mirrored:
            return
        here = (judge.labels == OTTER).nonzero().squeeze(1)
        if len(here) == 0 or len(deltas) == 0:
            for name in ("otter", "beaver"):
                yield from (Finding(f"{name} {when}", None, n=0, unit="percent") for when in ("before", "after"))
            return
        otter = judge[here[:1]].pixels()
        before = probabilities(material, self.wanted, otter)[0]
        others = deltas.labels != OTTER
        after = probabilities(material, self.wanted, (otter + deltas.changes[others]).clamp(0, 1))
        for name, number in (("otter", OTTER), ("beaver", BEAVER)):
            yield Finding(f"{name} before", 100 * before[number].item(), n=1, unit="percent")
            yield spread(f"{name} after", (100 * after[:, number]).tolist(), "percent")


def partners(judge: Examples, deltas: Deltas, draws: Tensor, *, kin: bool, aim: int = -1) -> Tensor:
    """For every perturbation an image that it was not made for, and none of the class aimed at.

    With `kin` one of its class; the image itself where there is no other.
    """
    chosen = []
    for example, label, draw in zip(deltas.ids.tolist(), deltas.labels.tolist(), draws.tolist(), strict=True):
        fitting = (judge.ids != example) & (judge.labels == label if kin else judge.labels != aim)
        places = fitting.nonzero().squeeze(1)
        if len(places) == 0:
            places = (judge.ids == example).nonzero().squeeze(1)
        chosen.append(int(places[min(int(draw * len(places)), len(places) - 1)]))
    return judge[torch.tensor(chosen, dtype=torch.long)].pixels()
