"""The facts of a cell as they come in: shards into the store, each with its verdicts in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from advbench.crafting.cell import Shard
from advbench.errors import PluginError
from advbench.problem.fit import Fit
from advbench.run.exhibits import shown_of
from advbench.run.prepared_cell import PreparedCell
from advbench.run.ready import Ready
from advbench.run.work import JudgeShard, MadeShard, Panel, stored_perturbation, wrong_perturbation
from advbench.store import Store
from advbench.store.rows import ArtifactRow, OutcomeRow, ShardRow
from advbench.target.identity import TargetPlan


@dataclass(frozen=True)
class Judging:
    """The targets that judge, and where their verdicts go."""

    store: Store
    run: str
    device: torch.device
    ready: dict[TargetPlan, Ready]

    def panel(self, cell: PreparedCell) -> Panel:
        """All that judge the cell, the source first."""
        return self._panel(cell, self._targets(cell))

    def shown(self, cell: PreparedCell) -> frozenset[int]:
        """The examples of which pictures are kept."""
        dataset = cell.plan.source.dataset
        return shown_of(cell.examples.ids.tolist(), dataset.shape) if dataset.publishable else frozenset()

    def keep(self, cell: PreparedCell, made: MadeShard) -> None:
        """Store a shard with its verdicts in one transaction, its perturbations first."""
        sha, shard = made.sha256, made.shard
        self.store.artifacts.keep(sha, made.data)
        self.store.add_shard(
            cell.key,
            ShardRow(
                shard=shard.number,
                first=shard.first,
                count=shard.span,
                run=self.run,
                batch=made.batch,
                seconds=made.seconds,
                forwards=made.forwards,
                backwards=made.backwards,
                artifact=sha,
            ),
            made.outcomes,
            ArtifactRow(sha, len(made.data), "perturbations"),
            made.pictures,
        )

    def with_perturbation(self, cell: PreparedCell) -> PreparedCell:
        """With the one perturbation for all that an earlier run fitted, where it is stored with the first shard."""
        fit, first = cell.supplies.fit, self.store.shards(cell.key).get(0)
        if fit is None or first is None or not self.store.artifacts.whole(first.artifact):
            return cell
        shard = cell.shards[0]
        x = shard.examples.pixels(self.device)
        tensors = self._tensors(first.artifact)
        return fitted(cell, stored_perturbation(cell.plan.ball, shard, x, first.artifact, tensors).cpu())

    def lost(self, cell: PreparedCell) -> tuple[Shard, ...]:
        """Shards that newcomers are to be judged on, and whose perturbations are missing or damaged."""
        stored, judged = self.store.shards(cell.key), self.store.judged(cell.key)
        return tuple(
            shard
            for shard in cell.shards
            if shard.number in stored
            and any((ready.key, shard.number) not in judged for ready in self._targets(cell))
            and not self.store.artifacts.whole(stored[shard.number].artifact)
        )

    def restore(self, cell: PreparedCell, made: MadeShard) -> None:
        """Keep again what was lost; what came out differently is not what was judged."""
        sha = self.store.shards(cell.key)[made.shard.number].artifact
        if made.sha256 != sha:
            raise PluginError(
                f"its perturbations {sha[:12]} are lost, and others came out when they were crafted again, on another "
                "machine perhaps: restore the file from a copy, and newcomers will be judged on it"
            )
        self.store.artifacts.keep(sha, made.data)

    def newcomers(self, cell: PreparedCell) -> Iterator[JudgeShard]:
        """Targets that came after a shard was crafted are to be judged on what is stored of it."""
        judged, stored = self.store.judged(cell.key), self.store.shards(cell.key)
        for shard in cell.shards:
            newcomers = [r for r in self._targets(cell) if (r.key, shard.number) not in judged]
            if newcomers:
                sha = stored[shard.number].artifact
                yield JudgeShard(cell.key, shard, sha, self._tensors(sha), self._panel(cell, newcomers))

    def add(self, cell: PreparedCell, shard: Shard, outcomes: dict[str, list[OutcomeRow]]) -> None:
        """Store what newcomers have said of a shard."""
        for target_key, rows in outcomes.items():
            self.store.add_judgement(cell.key, shard.number, target_key, rows)

    def _tensors(self, sha256: str) -> dict[str, torch.Tensor]:
        try:
            return self.store.artifacts.get(sha256)
        except Exception as error:
            raise wrong_perturbation(sha256, error) from error

    def _panel(self, cell: PreparedCell, targets: list[Ready]) -> Panel:
        plan = cell.plan
        return Panel(plan.ball, plan.goal != "untargeted", tuple(one.target for one in targets), str(self.device))

    def _targets(self, cell: PreparedCell) -> list[Ready]:
        """Every target of the data set, the source first."""
        source, dataset = self.ready[cell.plan.source], cell.plan.source.dataset
        others = [r for plan, r in self.ready.items() if plan.dataset == dataset and r.key != source.key]
        return [source, *others]


def fitted(cell: PreparedCell, perturbation: torch.Tensor) -> PreparedCell:
    """The cell with the one perturbation for all, and without the images that it was fitted on."""
    fit = cell.supplies.fit
    assert fit is not None
    brief = Fit(fit.examples[:0], fit.goal_labels[:0], fit.fingerprint, perturbation)
    return replace(cell, supplies=replace(cell.supplies, fit=brief))
