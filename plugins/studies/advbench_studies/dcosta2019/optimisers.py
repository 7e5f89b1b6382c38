"""Figures 2 and 18: the loss of a directed attack step by step, with plain gradients and with Adam."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Examples, Finding, Findings, Inputs, Material, Wanted, mean, share
from advbench_studies.dcosta2019.bands import band
from advbench_studies.dcosta2019.descents import descend

SGD, ADAM = 0.07, 0.001
"""The report's rates."""
AT_ONCE = 256


@dataclass(frozen=True)
class Optimisers(Analysis):
    """The loss towards one class by step, over several images: at the report's rates, and at others beside.

    `tuned` holds factors on the report's rates; a rule's best is the one whose mean loss ends lowest.
    """

    name = "optimisers"

    dataset: str = "mnist"
    model: str = "wong2019"
    towards: int = 5
    eps: float = 2 / 255
    steps: int = 50
    count: int = 10
    tuned: tuple[float, ...] = ()

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(Wanted(self.dataset, self.model),))

    def find(self, material: Material) -> Findings:
        chosen = elsewhere(material.data(self.dataset).judge, self.towards, self.count)
        factors = (1.0, *self.tuned)
        runs = [(rule, own * factor) for rule, own in (("sgd", SGD), ("adam", ADAM)) for factor in factors]
        runs.append(("sign", 2.5 / self.steps))
        losses: dict[tuple[str, float], Tensor] = {}
        for place, (rule, rate) in enumerate(runs):
            material.progress(place / len(runs), f"{rule} at {rate:g}")
            losses[rule, rate] = self._losses(material, chosen, rule, rate)
        ends = {run: curve[-1].mean().item() for run, curve in losses.items()}
        best = {
            rule: min((run for run in runs if run[0] == rule), key=lambda run: ends[run]) for rule in ("sgd", "adam")
        }
        by_name = {"sgd": losses["sgd", SGD], "adam": losses["adam", ADAM]}
        by_name |= {f"{rule}, best rate": losses[run] for rule, run in best.items()}
        by_name["sign"] = losses["sign", 2.5 / self.steps]
        numbers = [*self._numbers(by_name), *(Finding(f"best rate of {rule}", run[1]) for rule, run in best.items())]
        series = tuple(band(name, enumerate(curve.tolist())) for name, curve in by_name.items())
        return Findings(tuple(numbers), series)

    def _losses(self, material: Material, chosen: Examples, rule: str, rate: float) -> Tensor:
        ask = material.target(self.dataset, self.model).logits
        parts = []
        for first in range(0, len(chosen), AT_ONCE):
            x = chosen[first : first + AT_ONCE].pixels(material.device)
            aim = torch.full((len(x),), self.towards, device=x.device)
            radius = torch.full((len(x),), self.eps, device=x.device)
            parts.append(descend(ask, x, aim, radius, rule=rule, rate=rate, steps=self.steps).losses.cpu())
        return torch.cat(parts, 1)

    def _numbers(self, by_name: dict[str, Tensor]) -> Iterator[Finding]:
        for name, curve in by_name.items():
            yield mean(f"loss in the end, {name}", curve[-1].tolist(), "nats")
        for ending in ("", ", best rate"):
            lower = by_name[f"adam{ending}"][-1] < by_name[f"sgd{ending}"][-1]
            yield share(f"images on which adam ends lower{ending}", int(lower.sum()), len(lower))
            gains = by_name[f"sgd{ending}"][-1] - by_name[f"adam{ending}"][-1]
            yield mean(f"loss of sgd less that of adam{ending}", gains.tolist(), "nats")


def elsewhere(examples: Examples, towards: int, count: int) -> Examples:
    """The first examples of other classes than the one that is aimed at."""
    return examples[(examples.labels != towards).nonzero().squeeze(1)[:count]]
