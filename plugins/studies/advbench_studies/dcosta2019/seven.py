"""Table 1: one 7 sent to class 5 at growing radii, and how many digits go the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, JudgedCell, Material, NotFoundError, share
from advbench_studies.dcosta2019.bands import through

SEVEN, FIVE = 7, 5


@dataclass(frozen=True)
class Seven(Analysis):
    """Of the first 7 that was attacked what the network then says; of all sevens and all digits how many become a 5.

    The report does not say which 7 it shows. The first digit of MNIST's test set is one.
    """

    name = "seven"

    suite: str = "digits"
    target: str = "wong2019"
    attack: str = "pgd"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        cells = [
            cell
            for cell in material.cells(self.suite, attack=self.attack, goal=f"class={FIVE}")
            if cell.source.label == self.target
        ]
        cells.sort(key=lambda cell: cell.row.eps or 0.0)
        if not cells:
            raise NotFoundError(f"the suite {self.suite} has no finished cells of {self.attack} on {self.target}")
        numbers = [one for cell in cells for one in self._of(cell)]
        by_name = {one.name: one for one in numbers}
        series = (
            through(what, ((levels(cell), by_name[f"{what} at {levels(cell)}/255"]) for cell in cells))
            for what in ("sevens that become a 5", "digits that become a 5")
        )
        return Findings(tuple(numbers), tuple(series))

    def _of(self, cell: JudgedCell) -> Iterator[Finding]:
        rows, at = sorted(cell.outcomes(), key=lambda row: row.example), f"at {levels(cell)}/255"
        sevens = [row for row in rows if row.label == SEVEN]
        if sevens:
            first = sevens[0]
            yield Finding(f"the first 7 is taken for {at}", float(first.predicted), n=1, unit="class")
            yield Finding(f"confidence in that {at}", 100 * (first.confidence or 0.0), n=1, unit="percent")
        for what, some in (("sevens", sevens), ("digits", rows)):
            yield share(f"{what} that become a 5 {at}", sum(row.predicted == FIVE for row in some), len(some))


def levels(cell: JudgedCell) -> int:
    """The radius in grey levels."""
    return round(255 * (cell.row.eps or 0.0))
