"""Figures 12, 14 and 17: whether perturbed photos stay wrong under noise, and in front of a camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Finding, Findings, Inputs, Material, Series, Wanted, share
from advbench_studies.dcosta2019.asking import probabilities
from advbench_studies.dcosta2019.bands import through
from advbench_studies.dcosta2019.camera import photographed
from advbench_studies.dcosta2019.deltas import Deltas, fooling
from advbench_studies.dcosta2019.spreads import spread

Change = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Stability(Analysis):
    """What noise, uniform in [0, 1] times `factor` radii, and a simulated camera leave of the attack.

    Counted are photos that the network gets right when clean and that the attack fooled. Each is asked about `draws`
    times, and counts as wrong where it is wrong in more than half of them. The same is done to the clean photo.
    Confidences are medians, with the limits of 90 % of the photos.
    """

    name = "stability"

    dataset: str = "imagenet-samples"
    model: str = "efficientnet-lite0"
    suite: str = "photos"
    attack: str = "pgd"
    goal: str = "untargeted"
    threat: str = "linf"
    eps: float = 2 / 255
    factor: float = 7.0
    draws: int = 3
    severities: tuple[float, ...] = (0.25, 0.5, 1.0)

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,), targets=(self.wanted,))

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.dataset, self.model)

    def find(self, material: Material) -> Findings:
        deltas = fooling(
            material, self.suite, target=self.model, attack=self.attack, goal=self.goal, threat=self.threat
        )
        aim = int(self.goal.removeprefix("class=")) if self.goal.startswith("class=") else None
        numbers = list(self._confidences(material, deltas))

        def noisy(images: Tensor, draw: int) -> Tensor:
            noise = material.draws(f"noise/{draw}", deltas.ids).uniform(*images.shape[1:])
            return (images + self.factor * self.eps * noise).clamp(0, 1)

        numbers += self._under(material, deltas, noisy, "under noise", aim)
        for severity in self.severities:

            def camera(images: Tensor, draw: int, severity: float = severity) -> Tensor:
                return photographed(images, severity, material.draws(f"camera/{draw}", deltas.ids))

            numbers += self._under(material, deltas, camera, f"by a camera of {severity:g}", aim)
        return Findings(tuple(numbers), tuple(self._series({one.name: one for one in numbers})))

    def _confidences(self, material: Material, deltas: Deltas) -> Iterator[Finding]:
        clean, attacked = (probabilities(material, self.wanted, one) for one in (deltas.clean, deltas.images))
        own = clean.gather(1, deltas.labels.view(-1, 1)).squeeze(1)
        yield spread("clean confidence", (100 * own).tolist(), "percent")
        yield spread("adversarial confidence", (100 * attacked.amax(1)).tolist(), "percent")

    def _under(
        self, material: Material, deltas: Deltas, change: Change, how: str, aim: int | None
    ) -> Iterator[Finding]:
        wrong: list[Tensor] = []
        aimed: list[Tensor] = []
        alone: list[Tensor] = []
        sure: list[Tensor] = []
        for draw in range(self.draws):
            attacked = probabilities(material, self.wanted, change(deltas.images, draw))
            clean = probabilities(material, self.wanted, change(deltas.clean, draw))
            wrong.append(attacked.argmax(1) != deltas.labels)
            alone.append(clean.argmax(1) != deltas.labels)
            aimed.append(attacked.argmax(1) == (-1 if aim is None else aim))
            sure.append(attacked.amax(1))
        n = len(deltas)
        votes = {"wrong": wrong, "aimed": aimed, "alone": alone}
        mostly = {name: torch.stack(one).float().mean(0) > 0.5 for name, one in votes.items()}
        yield share(f"still wrong {how}", int(mostly["wrong"].sum()), n)
        if aim is not None:
            yield share(f"still the class aimed at {how}", int(mostly["aimed"].sum()), n)
        yield share(f"wrong without an attack {how}", int(mostly["alone"].sum()), n)
        usable = ~mostly["alone"]
        hits = int((mostly["wrong"] & usable).sum())
        yield share(f"wrong by the attack alone {how}", hits, int(usable.sum()))
        sureness, where = torch.stack(sure), torch.stack(wrong)
        yield spread(f"confidence of wrong answers {how}", (100 * sureness[where]).tolist(), "percent")

    def _series(self, by_name: dict[str, Finding]) -> Iterator[Series]:
        for what in ("still wrong", "still the class aimed at", "wrong without an attack"):
            names = [(severity, f"{what} by a camera of {severity:g}") for severity in self.severities]
            if all(name in by_name for _, name in names):
                yield through(what, ((severity, by_name[name]) for severity, name in names))
