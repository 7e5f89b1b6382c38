"""Figures 6, 19 and 20: digits drawn by chance, before, the change, and after."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from advbench import Analysis, Findings, Inputs, JudgedCell, Material, Picture


@dataclass(frozen=True)
class Gallerist(Analysis):
    """Of every cell of a suite a few digits: clean, the change about middle grey, perturbed."""

    name = "pictures"

    suite: str = ""
    shown: int = 2
    target: str = ""
    attack: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        cells = [
            cell
            for cell in material.cells(self.suite)
            if self.target in ("", cell.source.label) and self.attack in ("", cell.attack)
        ]
        return Findings((), (), tuple(one for cell in cells for one in self._of(material, cell)))

    def _of(self, material: Material, cell: JudgedCell) -> list[Picture]:
        perturbed = cell.perturbed()
        order = material.draws(f"pictures/{cell.source.label}", perturbed.ids).uniform(1).squeeze(1).argsort()
        rows = {row.example: row for row in cell.outcomes()}
        pictures = []
        for place in order[: self.shown].tolist():
            row = rows[int(perturbed.ids[place])]
            before, after = perturbed.clean[place], perturbed.images[place]
            sure = f"{100 * (row.confidence or 0):.0f} %"
            caption = f"digit {row.label}, taken for {row.predicted} with {sure}; {cell.attack} in {cell.threat}"
            name = f"{cell.threat} · {cell.source.label} · {cell.attack} · example {row.example}"
            pictures.append(Picture(name, torch.cat((before, (after - before) / 2 + 0.5, after), 2), caption))
        return pictures
