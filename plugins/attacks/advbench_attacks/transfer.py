"""What an earlier run stored, submitted again: perturbations that were made for another target (Szegedy et al., 2014).

Nothing is asked. A run judges its own cells on all its targets by itself; this attack is for targets, radii and data
sets that came later, in another database.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advbench import Access, AdvbenchError, Attack, Geometry, PluginError, Problem, Threat
from advbench.run.stored import packed_part, stored_ball
from advbench.store import Store


@dataclass(frozen=True)
class Again(Attack):
    """Reads the cell whose key begins with `cell` from the database `file`."""

    needs: ClassVar[Access] = Access(0)
    measures: ClassVar[bool] = True

    file: str = ""
    cell: str = ""

    def passes(self, classes: int) -> int:
        return 0

    def content(self) -> str:
        """The cell and the perturbations that are stored of it."""
        if not self.file or not self.cell:
            raise AdvbenchError(
                f"{self.name}: which perturbations? Write {self.name}(file=results.sqlite, cell=3fa9c2) with the "
                "beginning of a cell's key; `advbench show --cells --db results.sqlite` lists them"
            )
        with Store.open(self.file, readonly=True) as store:
            cell = store.cell(self.cell)
            stored = [row.artifact for row in store.shards(cell.key).values()]
        if not stored:
            raise AdvbenchError(f"{self.name}: cell {cell.key[:12]} of {self.file} has no examples stored yet")
        return hashlib.sha256(" ".join([cell.key, *stored]).encode()).hexdigest()

    def stored(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Ids of examples, and their perturbations; nothing where no file is named."""
        nothing = problem.draws.ids[:0], problem.start()[:0]
        if not self.file:
            return nothing
        with Store.open(self.file, readonly=True) as store:
            cell = store.cell(self.cell)
            name, kind = f"cell {cell.key[:12]} of {self.file}", type(problem.threat)
            threat = stored_ball(cell, kind) if cell.threat == kind.name else None
            if threat is None or threat.family != problem.threat.family:
                raise PluginError(
                    f"{self.name}: {name} holds perturbations of {cell.family}, and this ball is "
                    f"{problem.threat.family}; name a cell of this ball, of whatever radius"
                )
            parts = [
                self._part(store.artifacts.get(row.artifact), threat, problem, name)
                for row in store.shards(cell.key).values()
            ]
            self._check_labels({id_: row.label for id_, row in store.clean(cell.source).items()}, problem, name)
        ids, p = zip(nothing, *parts, strict=True)
        return torch.cat(ids), torch.cat(p)

    def _check_labels(self, labels: Mapping[int, int], problem: Problem, name: str) -> None:
        """An example of another data set may have the same number, hardly ever the same label every time."""
        if problem.goal.targeted:
            return  # the labels there are those aimed at
        mine = zip(problem.draws.ids.tolist(), problem.goal.labels.tolist(), strict=True)
        others = [id_ for id_, label in mine if labels.get(id_, label) != label]
        if others:
            raise PluginError(
                f"{self.name}: {name} is about other images (example {others[0]} has another label there); name a cell "
                "of this data set"
            )

    def _part(self, tensors: dict[str, Tensor], threat: Threat, problem: Problem, name: str) -> tuple[Tensor, Tensor]:
        """What one artifact holds."""
        x, start = problem.images[:1], problem.start()[:1]
        try:
            ids = tensors["example"].to(x.device)
            p = threat.unpack(x.expand(len(ids), *x.shape[1:]), packed_part(tensors, x.device))
            p = p.expand(len(ids), *p.shape[1:]) if len(p) == 1 else p  # one for all
            if p.shape != (len(ids), *start.shape[1:]):
                raise ValueError(f"{tuple(p.shape[1:])} instead of {tuple(start.shape[1:])}")
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:100]
            raise PluginError(
                f"{self.name}: {name} does not hold perturbations of images like these ({reason}); name a cell of "
                "this data set"
            ) from error
        return ids, p.to(start.dtype)


@dataclass(frozen=True)
class Transfer(Again):
    name: ClassVar[str] = "transfer"
    reference: ClassVar[str] = "https://arxiv.org/abs/1312.6199"
    geometry: ClassVar[Geometry] = Geometry.NOTHING

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
