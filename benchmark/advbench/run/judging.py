"""What was crafted is judged on every target of its data set, and every fact is stored at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from advbench.crafting.cell import Crafted, Shard
from advbench.errors import PluginError, one_line
from advbench.goal import Goal
from advbench.run.exhibits import exhibits, shown_of
from advbench.run.prepared_cell import PreparedCell
from advbench.run.ready import Ready
from advbench.run.stored import unpacked
from advbench.store import Store
from advbench.store.rows import ArtifactRow, OutcomeRow, ShardRow
from advbench.suite.plan import CellPlan
from advbench.target.identity import TargetPlan
from advbench.target.referee import Rendered, Verdict, judge, render
from advbench.threats import Threat


@dataclass(frozen=True)
class Judging:
    """The targets that judge, and where their verdicts go."""

    store: Store
    run: str
    device: torch.device
    ready: dict[TargetPlan, Ready]

    def keep(self, cell: PreparedCell, crafted: Crafted) -> None:
        """Judge what was crafted, and store it with its verdicts in one transaction."""
        shard, ball = crafted.shard, cell.plan.ball
        x = shard.examples.pixels(self.device)
        p = crafted.p.to(self.device)
        sha, size = self.store.artifacts.put(_packed(ball, shard, x, p))
        rendered = render(ball, x, p)
        targets = self._targets(cell)
        outcomes = _outcomes(cell, shard, rendered, targets)
        shown = self._shown(targets[0], cell.plan)
        pictures = exhibits(targets[0].target, ball, shard.examples, p, rendered.images, shown)
        self.store.add_shard(
            cell.key,
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

    def with_perturbation(self, cell: PreparedCell) -> PreparedCell:
        """With the one perturbation for all that an earlier run fitted, where it is stored with the first shard."""
        fit, first = cell.supplies.fit, self.store.shards(cell.key).get(0)
        if fit is None or first is None or not self.store.artifacts.whole(first.artifact):
            return cell
        shard = cell.shards[0]
        p = self._stored(cell, shard, shard.examples.pixels(self.device)).cpu()
        return replace(cell, supplies=replace(cell.supplies, fit=replace(fit, perturbation=p)))

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

    def restore(self, cell: PreparedCell, crafted: Crafted) -> None:
        """Keep again what was lost; what came out differently is not what was judged."""
        shard = crafted.shard
        sha = self.store.shards(cell.key)[shard.number].artifact
        packed = _packed(cell.plan.ball, shard, shard.examples.pixels(self.device), crafted.p.to(self.device))
        if not self.store.artifacts.restore(sha, packed):
            raise PluginError(
                f"its perturbations {sha[:12]} are lost, and others came out when they were crafted again, on another "
                "machine perhaps: restore the file from a copy, and newcomers will be judged on it"
            )

    def newcomers(self, cell: PreparedCell, check_interrupted: Callable[[], None]) -> None:
        """Targets that came after a shard was crafted are judged on what is stored of it."""
        judged = self.store.judged(cell.key)
        for shard in cell.shards:
            newcomers = [r for r in self._targets(cell) if (r.key, shard.number) not in judged]
            if not newcomers:
                continue
            check_interrupted()
            x = shard.examples.pixels(self.device)
            rendered = render(cell.plan.ball, x, self._stored(cell, shard, x))
            for target_key, rows in _outcomes(cell, shard, rendered, newcomers).items():
                self.store.add_judgement(cell.key, shard.number, target_key, rows)

    def _stored(self, cell: PreparedCell, shard: Shard, x: Tensor) -> Tensor:
        """What may have come from anybody, by a merge: it has to be of these images."""
        sha = self.store.shards(cell.key)[shard.number].artifact
        try:
            tensors = self.store.artifacts.get(sha)
            if not torch.equal(tensors["example"], shard.examples.ids):
                raise ValueError("of other examples")
            return unpacked(cell.plan.ball, x, tensors)
        except Exception as error:
            raise PluginError(
                f"its stored perturbations {str(sha)[:12]} are not those of these images ({one_line(error)}), so "
                "nobody can be judged on them; `advbench verify` tells which cells they belong to"
            ) from error

    def _shown(self, source: Ready, cell: CellPlan) -> frozenset[int]:
        judged = source.examples[: cell.examples or len(source.examples)]
        return shown_of(judged.ids.tolist(), cell.source.dataset.shape)

    def _targets(self, cell: PreparedCell) -> list[Ready]:
        """Every target of the data set, the source first."""
        source, dataset = self.ready[cell.plan.source], cell.plan.source.dataset
        others = [r for plan, r in self.ready.items() if plan.dataset == dataset and r.key != source.key]
        return [source, *others]


def _packed(ball: Threat, shard: Shard, x: Tensor, p: Tensor) -> dict[str, Tensor]:
    """What is kept of a shard: its perturbations, whose they are, and what they aimed at."""
    parts = {f"p.{name}": part.cpu() for name, part in ball.pack(x, p).items()}
    return {**parts, "example": shard.examples.ids, "goal_label": shard.goal_labels}


def _outcomes(
    cell: PreparedCell, shard: Shard, rendered: Rendered, targets: list[Ready]
) -> dict[str, list[OutcomeRow]]:
    goal = Goal(shard.goal_labels.to(rendered.images.device), cell.plan.goal != "untargeted")
    return {r.key: _outcome_rows(shard, judge(r.target, rendered, goal, shard.places)) for r in targets}


def _outcome_rows(shard: Shard, verdicts: list[Verdict]) -> list[OutcomeRow]:
    return [
        OutcomeRow(example, goal_label, **{**asdict(verdict), "reached": int(verdict.reached)})
        for example, goal_label, verdict in zip(
            shard.examples.ids.tolist(), shard.goal_labels.tolist(), verdicts, strict=True
        )
    ]
