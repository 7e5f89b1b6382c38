"""What an analysis is given to read: stored cells with their outcomes and perturbations, targets, data, draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advbench.data import Data
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.plugin import Dataset
from advbench.plugins.registry import Registry
from advbench.run.stored import crafted_in, stored_shards, threat_of
from advbench.store import Store
from advbench.store.rows import CellRow, LabelledOutcome, TargetRow
from advbench.study import Level, Wanted
from advbench.target.referee import render
from advbench.target.target import Target


class NotFoundError(AdvbenchError):
    """An analysis asked for what is not there; it ends, and the page says why."""


@dataclass(frozen=True)
class Perturbed:
    """Examples of a cell, clean and perturbed, and the perturbations themselves."""

    ids: Tensor
    labels: Tensor
    clean: Tensor
    images: Tensor
    perturbations: Tensor
    """In the coordinates of the cell's ball; one for all where it is universal."""


@dataclass(frozen=True)
class JudgedCell:
    """A cell of one of the study's suites, crafted on `source`."""

    row: CellRow
    source: TargetRow
    _material: Material = field(repr=False)

    @property
    def attack(self) -> str:
        return self.row.attack

    @property
    def goal(self) -> str:
        return self.row.goal

    @property
    def dataset(self) -> str:
        return self.row.dataset

    @property
    def model(self) -> str:
        return self.source.model

    @property
    def defenses(self) -> str:
        return self.source.defenses

    @property
    def threat(self) -> str:
        """The ball's label; its bare name where an attack looked for the smallest perturbation in all of the space."""
        return self.row.threat if self.row.eps is None else threat_of(self.row, self._material.registry).label

    @property
    def judges(self) -> dict[str, TargetRow]:
        """The targets that it was judged on, its own among them, by label.

        Of several of one label, as when a network was trained anew, its own counts, and else the one judged last.
        """
        rows = self._material.targets_stored
        keys = [*self._material.store.judges(self.row.key), self.row.source]
        return {rows[key].label: rows[key] for key in keys}

    def outcomes(self, on: str = "") -> list[LabelledOutcome]:
        """The referee's facts by example, on the target of that label; on its own where none is named."""
        key = self.row.source if not on else self._judge(on).key
        return self._material.store.outcomes(self.row.key, key)

    def clean(self, on: str = "") -> dict[int, bool]:
        """Which of the examples that target gets right when clean."""
        key = self.row.source if not on else self._judge(on).key
        ids = {row.example for row in self.outcomes(on)}
        return {i: row.predicted == row.label for i, row in self._material.store.clean(key).items() if i in ids}

    def perturbed(self, count: int | None = None) -> Perturbed:
        """Its first examples, or all of them, as images again."""
        parts: list[Perturbed] = []
        found = 0
        for part in self._parts():
            parts.append(part)
            found += len(part.ids)
            if count is not None and found >= count:
                break
        if not parts:
            raise NotFoundError(f"cell {self.row.key[:12]} has no perturbations here")
        one_for_all = self.row.fit is not None
        moved = parts[0].perturbations if one_for_all else torch.cat([part.perturbations for part in parts])[:count]
        return Perturbed(
            ids=torch.cat([part.ids for part in parts])[:count],
            labels=torch.cat([part.labels for part in parts])[:count],
            clean=torch.cat([part.clean for part in parts])[:count],
            images=torch.cat([part.images for part in parts])[:count],
            perturbations=moved,
        )

    def _parts(self) -> Iterator[Perturbed]:
        material = self._material
        threat = crafted_in(self.row, material.registry)
        judge = material.data(self.row.dataset).judge
        for shard in stored_shards(material.store, self.row, threat, judge, torch.device("cpu")):
            images = render(threat, shard.x, shard.p).images
            yield Perturbed(shard.examples.ids, shard.examples.labels, shard.x, images, shard.p)

    def _judge(self, label: str) -> TargetRow:
        judges = self.judges
        if label not in judges:
            raise NotFoundError(
                f"cell {self.row.key[:12]} ({self.attack}) was not judged on {label}; judged on {', '.join(judges)}"
            )
        return judges[label]


@dataclass
class Material:
    """What one analysis may read, and how it says how far it is."""

    level: Level
    store: Store
    registry: Registry
    device: torch.device
    seed: int
    suites: Mapping[str, Sequence[str]]
    """Keys of the cells of every suite that the analysis named, in the order of their plans."""
    targets: Mapping[Wanted, Target]
    datasets: Mapping[str, tuple[Dataset, Data]]
    progress: Callable[[float, str], None]
    """Says how far it is, from 0 to 1, and what is happening; raises where somebody wants it to stop."""
    _rows: dict[str, TargetRow] = field(default_factory=dict, repr=False)
    _cells: dict[str, CellRow] = field(default_factory=dict, repr=False)

    @property
    def targets_stored(self) -> dict[str, TargetRow]:
        if not self._rows:
            self._rows.update({row.key: row for row in self.store.targets()})
        return self._rows

    def cells(
        self,
        suite: str,
        *,
        dataset: str | None = None,
        model: str | None = None,
        defenses: str | None = None,
        attack: str | None = None,
        goal: str | None = None,
        threat: str | None = None,
    ) -> tuple[JudgedCell, ...]:
        """The finished cells of a suite that fit all that is named, by labels as `advbench show --cells` has them."""
        if suite not in self.suites:
            raise AdvbenchError(f"the analysis does not say that it reads the suite {suite!r}: name it in its `inputs`")
        if not self._cells:
            self._cells.update({row.key: row for row in self.store.cells()})
        found = []
        for key in self.suites[suite]:
            row = self._cells[key]
            source = self.targets_stored[row.source]
            asked = [
                (dataset, row.dataset),
                (model, source.model),
                (defenses, source.defenses),
                (attack, row.attack),
                (goal, row.goal),
                (threat, JudgedCell(row, source, self).threat),
            ]
            if all(want is None or want == have for want, have in asked):
                found.append(JudgedCell(row, source, self))
        return tuple(found)

    def cell(self, suite: str, **wanted: str) -> JudgedCell:
        """The one cell that fits."""
        found = self.cells(suite, **wanted)
        if len(found) != 1:
            what = ", ".join(f"{name}={value}" for name, value in wanted.items())
            raise NotFoundError(f"the suite {suite} has {len(found) or 'no'} finished cells with {what}")
        return found[0]

    def target(self, dataset: str, model: str, defense: str = "none") -> Target:
        wanted = Wanted(dataset, model, defense)
        if wanted not in self.targets:
            raise AdvbenchError(f"the analysis does not say that it asks {wanted}: name it in its `inputs`")
        return self.targets[wanted]

    def data(self, dataset: str) -> Data:
        if dataset not in self.datasets:
            raise AdvbenchError(f"the analysis does not say that it reads {dataset!r}: name it in its `inputs`")
        return self.datasets[dataset][1]

    def draws(self, purpose: str, ids: Tensor | Sequence[int] = (0,)) -> Draws:
        """Random numbers for these ids, which depend on seed and purpose alone."""
        return Draws(self.seed, f"study/{purpose}", torch.as_tensor(ids))
