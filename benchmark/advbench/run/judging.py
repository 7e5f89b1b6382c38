"""What was crafted is judged on every target of its data set, and every fact is stored at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from advbench.crafting.cell import Crafted, Shard
from advbench.errors import PluginError, one_line
from advbench.goal import Goal
from advbench.problem.fit import Fit
from advbench.run.exhibits import exhibits, shown_of
from advbench.run.ready import Ready
from advbench.run.stored import unpacked
from advbench.store import Store
from advbench.store.rows import ArtifactRow, OutcomeRow, ShardRow
from advbench.suite.plan import CellPlan, TargetPlan
from advbench.target.referee import Rendered, Verdict, judge, render


@dataclass(frozen=True)
class Judging:
    """The targets that judge, and where their verdicts go."""

    store: Store
    run: str
    device: torch.device
    ready: dict[TargetPlan, Ready]

    def keep(self, key: str, cell: CellPlan, crafted: Crafted) -> None:
        """Judge what was crafted, and store it with its verdicts in one transaction."""
        shard = crafted.shard
        x = shard.examples.pixels(self.device)
        p = crafted.p.to(self.device)
        sha, size = self.store.artifacts.put(_packed(cell, shard, x, p))
        rendered = render(cell.ball, x, p)
        targets = self._targets(cell)
        outcomes = _outcomes(cell, shard, rendered, targets)
        ids = shard.examples.ids
        pictures = exhibits(targets[0].target, cell.ball, x, p, rendered.images, ids, self._shown(targets[0], cell))
        self.store.add_shard(
            key,
            ShardRow(
                shard=shard.number,
                first=shard.first,
                count=shard.span,
                run=self.run,
                batch=crafted.batch,
                seconds=crafted.seconds,
                forwards=crafted.forwards,
                backwards=crafted.backwards,
                artifact=sha,
            ),
            outcomes,
            ArtifactRow(sha, size, "perturbations"),
            pictures,
        )

    def with_found(self, fit: Fit | None, key: str, cell: CellPlan, shards: list[Shard]) -> Fit | None:
        """With the perturbation that an earlier run fitted, where it is stored with the cell's first shard."""
        first = self.store.shards(key).get(0)
        if fit is None or first is None or not self.store.artifacts.whole(first.artifact):
            return fit
        x = shards[0].examples.pixels(self.device)
        return replace(fit, found=self._stored(key, cell, shards[0], x).cpu())

    def lost(self, key: str, cell: CellPlan, shards: list[Shard]) -> tuple[Shard, ...]:
        """Shards that newcomers are to be judged on, and whose perturbations are missing or damaged."""
        stored, judged = self.store.shards(key), self.store.judged(key)
        return tuple(
            shard
            for shard in shards
            if shard.number in stored
            and any((ready.key, shard.number) not in judged for ready in self._targets(cell))
            and not self.store.artifacts.whole(stored[shard.number].artifact)
        )

    def restore(self, key: str, cell: CellPlan, crafted: Crafted) -> None:
        """Keep again what was lost; what came out differently is not what was judged."""
        shard = crafted.shard
        sha = self.store.shards(key)[shard.number].artifact
        packed = _packed(cell, shard, shard.examples.pixels(self.device), crafted.p.to(self.device))
        if not self.store.artifacts.restore(sha, packed):
            raise PluginError(
                f"its perturbations {sha[:12]} are lost, and others came out when they were crafted again, on another "
                "machine perhaps: restore the file from a copy, and newcomers will be judged on it"
            )

    def newcomers(self, key: str, cell: CellPlan, shards: list[Shard], check_interrupted: Callable[[], None]) -> None:
        """Targets that came after a shard was crafted are judged on what is stored of it."""
        judged = self.store.judged(key)
        for shard in shards:
            newcomers = [r for r in self._targets(cell) if (r.key, shard.number) not in judged]
            if not newcomers:
                continue
            check_interrupted()
            x = shard.examples.pixels(self.device)
            p = self._stored(key, cell, shard, x)
            for target_key, rows in _outcomes(cell, shard, render(cell.ball, x, p), newcomers).items():
                self.store.add_judgement(key, shard.number, target_key, rows)

    def _stored(self, key: str, cell: CellPlan, shard: Shard, x: Tensor) -> Tensor:
        """What may have come from anybody, by a merge: it has to be of these images."""
        sha = self.store.shards(key)[shard.number].artifact
        try:
            tensors = self.store.artifacts.get(sha)
            if not torch.equal(tensors["example"], shard.examples.ids):
                raise ValueError("of other examples")
            return unpacked(cell.ball, x, tensors)
        except Exception as error:
            raise PluginError(
                f"its stored perturbations {str(sha)[:12]} are not those of these images ({one_line(error)}), so "
                "nobody can be judged on them; `advbench verify` tells which cells they belong to"
            ) from error

    def _shown(self, source: Ready, cell: CellPlan) -> frozenset[int]:
        judged = source.examples[: cell.examples or len(source.examples)]
        return shown_of(judged.ids.tolist(), cell.source.dataset.shape)

    def _targets(self, cell: CellPlan) -> list[Ready]:
        """Every target of the data set, the source first."""
        source = self.ready[cell.source]
        others = [r for plan, r in self.ready.items() if plan.dataset == cell.source.dataset and r.key != source.key]
        return [source, *others]


def _packed(cell: CellPlan, shard: Shard, x: Tensor, p: Tensor) -> dict[str, Tensor]:
    """What is kept of a shard: its perturbations, whose they are, and what they aimed at."""
    parts = {f"p.{name}": part.cpu() for name, part in cell.ball.pack(x, p).items()}
    return {**parts, "example": shard.examples.ids, "goal_label": shard.goal_labels}


def _outcomes(cell: CellPlan, shard: Shard, rendered: Rendered, targets: list[Ready]) -> dict[str, list[OutcomeRow]]:
    goal = Goal(shard.goal_labels.to(rendered.images.device), cell.goal != "untargeted")
    return {r.key: _outcome_rows(shard, judge(r.target, rendered, goal, shard.places)) for r in targets}


def _outcome_rows(shard: Shard, verdicts: list[Verdict]) -> list[OutcomeRow]:
    return [
        OutcomeRow(example, goal_label, **{**asdict(verdict), "reached": int(verdict.reached)})
        for example, goal_label, verdict in zip(
            shard.examples.ids.tolist(), shard.goal_labels.tolist(), verdicts, strict=True
        )
    ]
