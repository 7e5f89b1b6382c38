"""Pictures drawn by chance: figures 5, 7, 8, 10 and 11."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Analysis, Findings, Inputs, JudgedCell, Material, NotFoundError, Picture, Wanted
from advbench_studies.qin2020.mosaic import GREEN, GREY, RED, framed, rows_of
from advbench_studies.qin2020.redrawing import redrawn
from advbench_studies.qin2020.sizes import CORRUPTIONS, DETECTOR, FASHION, MNIST, TITLES
from advbench_studies.qin2020.suites import named


def drawn(material: Material, purpose: str, ids: Sequence[int], count: int) -> list[int]:
    """Some of the ids, by chance and in order."""
    if not ids:
        return []
    chance = material.draws(purpose, torch.as_tensor(ids)).uniform(1)[:, 0]
    return sorted(ids[place] for place in chance.argsort()[:count].tolist())


def seen(cell: JudgedCell) -> dict[int, tuple[float, float, float]]:
    """The frame of each example's picture: red where it is flagged, green where it is wrong and is not."""
    threshold = cell.source.threshold or 0.0
    return {
        row.example: RED if (row.suspicion or 0.0) > threshold else GREEN if row.reached else GREY
        for row in cell.outcomes()
    }


def images_of(cell: JudgedCell, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Clean and perturbed images of these examples."""
    there = cell.perturbed()
    places = {one: place for place, one in enumerate(there.ids.tolist())}
    rows = [places[one] for one in ids]
    return there.clean[rows].float(), there.images[rows].float()


@dataclass(frozen=True)
class Corrupted(Analysis):
    """Digits under each corruption, and what each network redraws of them: two rows a corruption, framed."""

    name = "corrupted-pictures"

    networks: str = ""
    count: int = 8

    @property
    def inputs(self) -> Inputs:
        asked = self.networks.split()
        return Inputs(
            tuple(named("corrupted", MNIST, network) for network in asked),
            tuple(Wanted(MNIST, network) for network in asked),
        )

    def find(self, material: Material) -> Findings:
        pictures: list[Picture] = []
        for network in self.networks.split():
            suite = named("corrupted", MNIST, network)
            cells = {cell.attack: cell for cell in material.cells(suite)}
            halves = list(CORRUPTIONS.items())
            for part, kinds in (("first half", halves[:9]), ("second half", halves[9:])):
                rows: list[list[Tensor]] = []
                for _, kind in kinds:
                    cell = cells.get(f"corruptions(kind={kind})")
                    if cell is None:
                        raise NotFoundError(f"the suite {suite} has no finished cell of {kind}")
                    frames = seen(cell)
                    ids = drawn(material, "corrupted", sorted(frames), self.count)
                    _, moved = images_of(cell, ids)
                    again = redrawn(material, MNIST, network, moved)
                    rows.append([framed(image) for image in moved])
                    rows.append([framed(image, frames[one]) for one, image in zip(ids, again, strict=True)])
                caption = ", ".join(paper.replace("_", " ") for paper, _ in kinds)
                pictures.append(Picture(f"{TITLES[network]}: {part}", rows_of(rows), caption))
        return Findings(pictures=tuple(pictures))


@dataclass(frozen=True)
class Attacked(Analysis):
    """Clean images, what is redrawn of them, successes of one attack, and what is redrawn of these: four rows."""

    name = "attacked-pictures"

    suite: str = ""
    attack: str = ""
    """As in the suite; goals are random classes."""
    dataset: str = ""
    network: str = ""
    count: int = 8

    @property
    def inputs(self) -> Inputs:
        return Inputs((self.suite,), (Wanted(self.dataset, self.network),))

    def find(self, material: Material) -> Findings:
        cell = material.cell(self.suite, attack=self.attack, goal="random")
        won = [row.example for row in cell.outcomes() if row.reached and row.violation is None]
        ids = drawn(material, "attacked", won, self.count)
        if not ids:
            return Findings()
        clean, moved = images_of(cell, ids)
        frames = seen(cell)
        before = redrawn(material, self.dataset, self.network, clean)
        after = redrawn(material, self.dataset, self.network, moved)
        rows = [
            [framed(image) for image in clean],
            [framed(image) for image in before],
            [framed(image, frames[one]) for one, image in zip(ids, moved, strict=True)],
            [framed(image, frames[one]) for one, image in zip(ids, after, strict=True)],
        ]
        title = f"{TITLES[self.network]} on {self.dataset}: {self.attack}"
        caption = f"{len(ids)} of {len(won)} successes, drawn by chance: clean, redrawn, attacked, redrawn"
        return Findings(pictures=(Picture(title, rows_of(rows), caption),))


@dataclass(frozen=True)
class Aimed(Analysis):
    """R-PGD aimed at every class of Fashion-MNIST: undetected successes toward one (5), and all outcomes (11)."""

    name = "aimed-pictures"

    network: str = ""
    toward: int = 0
    count: int = 10

    @property
    def inputs(self) -> Inputs:
        return Inputs((named("pairs", FASHION, self.network),))

    def find(self, material: Material) -> Findings:
        suite = named("pairs", FASHION, self.network)
        cell = material.cell(suite, goal=f"class={self.toward}", defenses=DETECTOR)
        silent = [one for one, frame in seen(cell).items() if frame == GREEN]
        pictures: list[Picture] = []
        if ids := drawn(material, "toward", silent, self.count):
            clean, moved = images_of(cell, ids)
            caption = f"{len(ids)} of {len(silent)} undetected successes, drawn by chance; clean above"
            rows = [[framed(image) for image in clean], [framed(image, GREEN) for image in moved]]
            pictures.append(Picture(f"toward class {self.toward}", rows_of(rows), caption))
        cells = {one.goal: one for one in material.cells(suite)}
        every = sorted({row.example for one in cells.values() for row in one.outcomes()})
        chosen = drawn(material, "every class", every, self.count)
        rows = [self._originals(cells.values(), chosen)]
        for goal in sorted(cells):
            rows.append(self._row(cells[goal], chosen, rows[0]))
        caption = "inputs above; below, a row for each target class: green undetected successes, red flagged"
        pictures.append(Picture("every class", rows_of(rows), caption))
        return Findings(pictures=tuple(pictures))

    def _originals(self, cells: Iterable[JudgedCell], chosen: Sequence[int]) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        for cell in cells:
            there = cell.perturbed()
            found |= dict(zip(there.ids.tolist(), there.clean.float(), strict=True))
            if all(one in found for one in chosen):
                break
        return [framed(found[one]) for one in chosen]

    def _row(self, cell: JudgedCell, chosen: Sequence[int], blank: Sequence[Tensor]) -> list[Tensor]:
        """Outcomes toward one class; white where the image is of that class itself."""
        frames, there = seen(cell), cell.perturbed()
        places = {one: place for place, one in enumerate(there.ids.tolist())}
        return [
            framed(there.images[places[one]].float(), frames[one]) if one in places else torch.ones_like(blank[0])
            for one in chosen
        ]
