"""Rubbish and evolved patterns on a second network: whether it gives them the same label, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, Material, Picture, mean, share


@dataclass(frozen=True)
class Patterns(Analysis):
    """The images that made one network sure, asked of another."""

    name = "patterns"

    suite: str = "patterns"
    shown: int = 10

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        numbers: list[Finding] = []
        pictures: list[Picture] = []
        for cell in material.cells(self.suite):
            own = {row.example: row for row in cell.outcomes() if row.reached and row.violation is None}
            title = f"{cell.attack} of {cell.source.label}"
            sure = [100 * (row.confidence or 0.0) for row in own.values()]
            numbers.append(mean(f"confidence, {title}", sure, "percent"))
            for label in cell.judges:
                if label == cell.source.label:
                    continue
                there = {row.example: row for row in cell.outcomes(label) if row.example in own}
                same = sum(row.predicted == own[example].predicted for example, row in there.items())
                numbers.append(share(f"same label on {label}, {title}", same, len(there)))
                sure = [100 * (row.confidence or 0.0) for row in there.values()]
                numbers.append(mean(f"confidence on {label}, {title}", sure, "percent"))
            drawn = cell.perturbed(self.shown)
            for place, example in enumerate(drawn.ids.tolist()):
                row = own.get(example)
                said = f"taken for {row.predicted}, {row.confidence or 0:.0%}" if row else "not reached"
                pictures.append(Picture(f"{title} {place}", drawn.images[place], said, of_data=False))
        return Findings(tuple(numbers), pictures=tuple(pictures))
