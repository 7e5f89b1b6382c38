"""What an earlier run has stored of a cell, for attacks that hand it in again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.errors import AdvbenchError, PluginError
from advbench.problem.problem import Problem
from advbench.run.stored import packed_part, stored_ball
from advbench.store import Store
from advbench.store.parts import holds_parts
from advbench.store.rows import CellRow
from advbench.threats import Threat


@dataclass(frozen=True)
class StoredPerturbations:
    """Those of the cell whose key begins with `cell`, in the database `file`."""

    file: str
    cell: str

    @property
    def digest(self) -> str:
        """Of the cell and everything that is stored of it: what `content` of an attack says that hands it in."""
        with self._opened() as (store, cell):
            stored = [row.artifact for _, row in sorted(store.shards(cell.key).items())]
            if stored and holds_parts(store) and store.cell_status(cell.key) != "done":
                raise AdvbenchError(
                    f"cell {cell.key[:12]} of {self.file} is of a run in parts, and only {len(stored)} of its shards "
                    "are there; join all parts with `advbench merge` first"
                )
        if not stored:
            raise AdvbenchError(f"cell {cell.key[:12]} of {self.file} has no examples stored yet")
        return hashlib.sha256(" ".join([cell.key, *stored]).encode()).hexdigest()

    def of(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Ids of examples, and their perturbations in the coordinates of the problem's ball.

        A PluginError says where they are of another ball, or of other images.
        """
        start = problem.start()[:0]
        with self._opened() as (store, cell):
            name = f"cell {cell.key[:12]} of {self.file}"
            threat = self._ball(cell, problem, name)
            parts = [
                _part(store.artifacts.get(row.artifact), threat, problem, name)
                for row in store.shards(cell.key).values()
            ]
            labels = {example: row.label for example, row in store.clean(cell.source).items()}
        _check_labels(labels, problem, name)
        ids, p = zip((problem.draws.ids[:0], start), *parts, strict=True)
        return torch.cat(ids), torch.cat(p)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Store, CellRow]]:
        with Store.open(self.file, readonly=True) as store:
            yield store, store.cell(self.cell)

    def _ball(self, cell: CellRow, problem: Problem, name: str) -> Threat:
        kind = type(problem.threat)
        threat = stored_ball(cell, kind) if cell.threat == kind.name else None
        if threat is None or threat.family != problem.threat.family:
            raise PluginError(
                f"{name} holds perturbations of {cell.family}, and this ball is {problem.threat.family}; name a "
                "cell of this ball, of whatever radius"
            )
        return threat


def _part(tensors: dict[str, Tensor], threat: Threat, problem: Problem, name: str) -> tuple[Tensor, Tensor]:
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
            f"{name} does not hold perturbations of images like these ({reason}); name a cell of this data set"
        ) from error
    return ids, p.to(start.dtype)


def _check_labels(labels: Mapping[int, int], problem: Problem, name: str) -> None:
    """An example of another data set may have the same number, hardly ever the same label every time."""
    if problem.goal.targeted:
        return  # the labels there are those aimed at
    mine = zip(problem.draws.ids.tolist(), problem.goal.labels.tolist(), strict=True)
    others = [example for example, label in mine if labels.get(example, label) != label]
    if others:
        raise PluginError(
            f"{name} is about other images (example {others[0]} has another label there); name a cell of this data set"
        )
