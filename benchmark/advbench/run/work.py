"""What an engine is handed of a run: to craft a shard and have it judged, or to judge one that is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advbench.crafting.cell import Crafted, Crafter, Job, Shard
from advbench.engines.crew import Bench
from advbench.errors import PluginError, one_line
from advbench.goal import Goal
from advbench.run.exhibits import exhibits
from advbench.run.stored import unpacked
from advbench.store.artifacts import serialise
from advbench.store.rows import ExhibitRow, OutcomeRow
from advbench.target.referee import Rendered, Verdict, judge, render
from advbench.target.target import Target
from advbench.threats import Threat


@dataclass(frozen=True)
class Panel:
    """Who judges the shards of a cell: targets of its data set, in the ball in which it is measured."""

    ball: Threat
    targeted: bool
    targets: tuple[Target, ...]
    device: str

    def outcomes(self, shard: Shard, rendered: Rendered) -> dict[str, list[OutcomeRow]]:
        """Rows by the target's key."""
        goal = Goal(shard.goal_labels.to(rendered.images.device), self.targeted)
        return {one.key: _rows(shard, judge(one, rendered, goal, shard.places)) for one in self.targets}


@dataclass(frozen=True)
class MadeShard:
    """A shard that was crafted, packed, and judged."""

    shard: Shard
    data: bytes
    """The bytes of the artifact."""
    sha256: str
    """Their hash."""
    outcomes: dict[str, list[OutcomeRow]]
    pictures: list[ExhibitRow]
    forwards: int
    backwards: int
    seconds: float
    spent: float
    """What counts against a time limit."""
    batch: int
    perturbation: Tensor | None = None
    """The one for all, where the shard was the first to need it."""


@dataclass(frozen=True)
class CraftShard:
    """Craft one shard on the source, and have the panel judge it; an empty panel has it crafted alone."""

    cell: str
    """The key of its cell."""
    job: Job
    """With this one shard."""
    panel: Panel
    shown: frozenset[int] = frozenset()
    """Examples of which pictures are made."""

    @property
    def group(self) -> Hashable:
        return self.cell

    @property
    def shared(self) -> tuple[object, ...]:
        fit, bank = self.job.supplies.fit, self.job.supplies.bank
        images = [] if fit is None or fit.perturbation is not None else [fit]
        return (self.job.source, *self.panel.targets, *images, *([] if bank is None else [bank]))

    @property
    def patience(self) -> float | None:
        return self.job.rules.timeout

    def perform(self, bench: Bench) -> MadeShard:
        crafter = bench.kept((self.cell, self.job.batch), lambda: Crafter(replace(self.job, shards=())))
        (shard,) = self.job.shards
        crafted = crafter.craft(shard, self.job.supplies.fit, self.job.rules.timeout)
        bench.crafted()
        return self._made(crafted)

    def _made(self, crafted: Crafted) -> MadeShard:
        shard, panel, fit = crafted.shard, self.panel, self.job.supplies.fit
        device = torch.device(panel.device)
        x, p = shard.examples.pixels(device), crafted.p.to(device)
        outcomes: dict[str, list[OutcomeRow]] = {}
        pictures: list[ExhibitRow] = []
        if panel.targets:
            rendered = render(panel.ball, x, p)
            outcomes = panel.outcomes(shard, rendered)
            pictures = exhibits(panel.targets[0], panel.ball, shard.examples, p, rendered.images, self.shown)
        data = serialise(_packed(panel.ball, shard, x, p))
        return MadeShard(
            shard=shard,
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            outcomes=outcomes,
            pictures=pictures,
            forwards=crafted.forwards,
            backwards=crafted.backwards,
            seconds=crafted.seconds,
            spent=crafted.spent,
            batch=crafted.batch,
            perturbation=crafted.p if fit is not None and fit.perturbation is None else None,
        )


@dataclass(frozen=True)
class JudgeShard:
    """Have the panel judge a shard whose perturbations are stored."""

    cell: str
    shard: Shard
    sha256: str
    tensors: dict[str, Tensor]
    panel: Panel

    @property
    def group(self) -> Hashable:
        return self.cell

    @property
    def shared(self) -> tuple[object, ...]:
        return self.panel.targets

    @property
    def patience(self) -> None:
        return None

    def perform(self, bench: Bench) -> dict[str, list[OutcomeRow]]:
        x = self.shard.examples.pixels(torch.device(self.panel.device))
        p = stored_perturbation(self.panel.ball, self.shard, x, self.sha256, self.tensors)
        return self.panel.outcomes(self.shard, render(self.panel.ball, x, p))


def stored_perturbation(ball: Threat, shard: Shard, x: Tensor, sha256: str, tensors: dict[str, Tensor]) -> Tensor:
    """What an artifact holds. It may have come from anybody, by a merge: it has to be of these images."""
    try:
        if not torch.equal(tensors["example"], shard.examples.ids):
            raise ValueError("of other examples")
        return unpacked(ball, x, tensors)
    except Exception as error:
        raise wrong_perturbation(sha256, error) from error


def wrong_perturbation(sha256: str, error: Exception) -> PluginError:
    return PluginError(
        f"its stored perturbations {str(sha256)[:12]} are not those of these images ({one_line(error)}), so "
        "nobody can be judged on them; `advbench verify` tells which cells they belong to"
    )


def _packed(ball: Threat, shard: Shard, x: Tensor, p: Tensor) -> dict[str, Tensor]:
    """What is kept of a shard: its perturbations, whose they are, and what they aimed at."""
    parts = {f"p.{name}": part.cpu() for name, part in ball.pack(x, p).items()}
    return {**parts, "example": shard.examples.ids, "goal_label": shard.goal_labels}


def _rows(shard: Shard, verdicts: list[Verdict]) -> list[OutcomeRow]:
    return [
        OutcomeRow(
            example,
            goal_label,
            reached=int(one.reached),
            predicted=one.predicted,
            confidence=one.confidence,
            suspicion=one.suspicion,
            size=one.size,
            violation=one.violation,
            excess=one.excess,
            tolerance=one.tolerance,
        )
        for example, goal_label, one in zip(
            shard.examples.ids.tolist(), shard.goal_labels.tolist(), verdicts, strict=True
        )
    ]
