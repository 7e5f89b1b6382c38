"""What an earlier run stored, submitted again: perturbations that were made for another target (Szegedy et al., 2014).

Nothing is asked. A run judges its own cells on all its targets by itself; this attack is for targets, radii and data
sets that came later, in another database.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advbench import Access, AdvbenchError, Attack, Geometry, PluginError, Problem, StoredPerturbations


@dataclass(frozen=True)
class Again(Attack):
    """Reads the cell whose key begins with `cell` from the database `file`."""

    needs = Access.NOTHING
    measures = True

    file: str = ""
    cell: str = ""

    def passes(self, classes: int) -> int:
        return 0

    def content(self) -> str:
        if not self.file or not self.cell:
            raise AdvbenchError(
                f"{self.name}: which perturbations? Write {self.name}(file=results.sqlite, cell=3fa9c2) with the "
                "beginning of a cell's key; `advbench show --cells --db results.sqlite` lists them"
            )
        return StoredPerturbations(self.file, self.cell).digest

    def stored(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Ids of examples, and their perturbations; nothing where no file is named."""
        if not self.file:
            return problem.draws.ids[:0], problem.start()[:0]
        try:
            return StoredPerturbations(self.file, self.cell).of(problem)
        except PluginError as error:
            raise PluginError(f"{self.name}: {error}") from error


@dataclass(frozen=True)
class Transfer(Again):
    name = "transfer"
    reference = "https://arxiv.org/abs/1312.6199"
    geometry = Geometry.NOTHING

    def perturb(self, problem: Problem) -> Tensor:
        p = problem.start()
        ids, stored = self.stored(problem)
        place, known = where(problem.draws.ids, ids)
        p[known] = stored[place[known]]
        return problem.project(p)


def where(ids: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each id among others, and whether it is there at all."""
    if len(among) == 0:
        return torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    order = among.argsort()
    place = order[torch.searchsorted(among[order], ids).clamp_max(len(among) - 1)]
    return place, among[place] == ids
