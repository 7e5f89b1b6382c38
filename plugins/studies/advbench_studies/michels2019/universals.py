"""The paper's universal perturbations: their norms, what they leave right on both networks, and noise of equal norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Finding, Findings, Inputs, JudgedCell, Level, Material, Wanted, at_least, mean, share
from advbench_studies.michels2019.crossed import crossed
from advbench_studies.michels2019.networks import KINDS, network
from advbench_studies.michels2019.suites import SIZES, universal_attack

BATCH = 128


@dataclass(frozen=True)
class Universals(Analysis):
    """Means over the perturbations of a network, one from each part of the images.

    A search that was cut off before it left less than half of its part right has not found what the paper looks for:
    it counts in the first two rows alone. Intervals of shares know of perturbations and of images (`crossed`).

    | finding | what |
    | --- | --- |
    | `own part · K` | images of its own part that network K still gets right |
    | `below half · K` | how many of its perturbations leave less than half of their part right |
    | `norm · K` | l2 norm of the perturbations of K |
    | `largest pixel · K` | their l-infinity norm |
    | `right · K on J` | images that J gets right under K's perturbations |
    | `wrong · K on J` | the others, those that J gets wrong when clean among them |
    | `fooled · K on J` | of those that J gets right when clean, those that it gets wrong under K's perturbations |
    | `noise · K on J` | the same under random signs of equal norm, on the first `noisy` of the images |
    """

    name = "universals"

    dataset: str = "mnist"
    noisy: int = at_least(1, default=128)

    @property
    def inputs(self) -> Inputs:
        return Inputs(
            suites=(self.dataset,),
            targets=tuple(Wanted(self.dataset, network(kind, self.dataset)) for kind in KINDS),
        )

    def find(self, material: Material) -> Findings:
        found: list[Finding] = []
        for place, kind in enumerate(KINDS):
            material.progress(place / len(KINDS), f"universal perturbations of {kind}")
            begun = parts_of(material, self.dataset, kind)
            left = left_of_parts(begun)
            found += [mean(f"own part · {kind}", left, "percent")]
            found += [Finding(f"below half · {kind}", sum(one < 50 for one in left), n=len(left), unit="perturbations")]
            cells = finished(begun)
            found += [mean(f"norm · {kind}", [norm_of(cell) for cell in cells])]
            largest = [float(cell.perturbed(1).perturbations.abs().max()) for cell in cells]
            found += [mean(f"largest pixel · {kind}", largest)]
            for judge in KINDS:
                found += self._judged(kind, judge, cells)
                found += [self._noise(material, kind, judge, cells)]
        return Findings(tuple(found))

    def _judged(self, kind: str, judge: str, cells: list[JudgedCell]) -> Iterator[Finding]:
        on = "" if judge == kind else network(judge, self.dataset)
        right: list[float] = []
        fooled: list[float] = []
        for cell in cells:
            rows, clean = cell.outcomes(on), cell.clean(on)
            still = {row.example for row in rows if row.predicted == row.label}
            first = [example for example, was in clean.items() if was]
            right.append(100.0 * len(still) / len(rows))
            fooled.append(100.0 * sum(example not in still for example in first) / max(1, len(first)))
        images = len(cells[0].outcomes()) if cells else 0
        yield crossed(f"right · {kind} on {judge}", right, images)
        yield crossed(f"wrong · {kind} on {judge}", [100.0 - one for one in right], images)
        yield crossed(f"fooled · {kind} on {judge}", fooled, sum(cells[0].clean(on).values()) if cells else 0)

    def _noise(self, material: Material, kind: str, judge: str, cells: list[JudgedCell]) -> Finding:
        """Random signs, one draw for each perturbation, as long as it."""
        target = material.target(self.dataset, network(judge, self.dataset))
        if not cells:
            return Finding(f"noise · {kind} on {judge}", None, n=0, unit="percent")
        norms = [norm_of(cell) for cell in cells]
        ids = torch.tensor([row.example for row in cells[0].outcomes()[: self.noisy]])
        whole = material.data(self.dataset).judge
        examples = whole[torch.isin(whole.ids, ids)]
        images, labels = examples.pixels(material.device), examples.labels.to(material.device)
        first = answers(target.logits, images) == labels
        draws = material.draws(f"noise/{self.dataset}/{kind}", range(len(norms)))
        signs = draws.sign(*images.shape[1:]).to(material.device)
        rates: list[float] = []
        for norm, sign in zip(norms, signs, strict=True):
            material.progress(0.5, f"noise as long as the perturbations of {kind}, on {judge}")
            noisy = (images + norm * sign / sign.norm()).clamp(0, 1)
            now = answers(target.logits, noisy) == labels
            rates.append(100.0 * float((first & ~now).sum()) / max(1, int(first.sum())))
        return crossed(f"noise · {kind} on {judge}", rates, int(first.sum()))


@dataclass(frozen=True)
class Strides(Analysis):
    """How the norm depends on the length of an FGSM step, which the paper does not give: part 0 of the images."""

    name = "strides"

    dataset: str = "mnist"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.dataset,))

    def find(self, material: Material) -> Findings:
        found: list[Finding] = []
        for kind in KINDS:
            model = network(kind, self.dataset)
            for longer in (1, *SIZES[material.level].longer):
                attack = universal_attack(material.level, self.dataset, 0, longer)
                cell = material.cell(self.dataset, model=model, attack=attack)
                rows = cell.outcomes()
                found += [Finding(f"norm · {kind} · {cell.attack}", norm_of(cell), n=1)]
                right = sum(row.predicted == row.label for row in rows)
                found += [share(f"right · {kind} · {cell.attack}", right, len(rows))]
        return Findings(tuple(found))


def parts_of(material: Material, dataset: str, kind: str) -> list[JudgedCell]:
    """The cells of a network, in the order of the parts."""
    return cells_by_part(material, dataset, dataset, network(kind, dataset))


def cells_by_part(material: Material, suite: str, dataset: str, model: str) -> list[JudgedCell]:
    level: Level = material.level
    return [
        material.cell(suite, model=model, attack=universal_attack(level, dataset, part))
        for part in range(SIZES[level].parts)
    ]


def left_of_parts(cells: Sequence[JudgedCell]) -> list[float]:
    """Which percentage of its part each perturbation leaves right, on the network that it was made for."""
    left = []
    for part, cell in enumerate(cells):
        rows = cell.outcomes()
        own: list[int] = torch.arange(len(rows)).tensor_split(len(cells))[part].tolist()  # as the attack divides them
        left.append(100.0 * sum(rows[i].predicted == rows[i].label for i in own) / max(1, len(own)))
    return left


def finished(cells: Sequence[JudgedCell]) -> list[JudgedCell]:
    """The perturbations that leave less than half of their part right: those at which the paper stops."""
    return [cell for cell, left in zip(cells, left_of_parts(cells), strict=True) if left < 50]


def norm_of(cell: JudgedCell) -> float:
    """Of the one perturbation for all, whatever clipping leaves of it."""
    return float(cell.outcomes()[0].size)


def vectors_of(cells: Sequence[JudgedCell]) -> Tensor:
    return torch.cat([cell.perturbed(1).perturbations for cell in cells]).double()


def answers(logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The classes that a network answers, a few images at a time."""
    with torch.no_grad():
        return torch.cat([logits(batch).argmax(1) for batch in torch.split(images, BATCH)])
