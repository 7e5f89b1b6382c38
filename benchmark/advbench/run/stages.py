"""The tasks of one cell, stage by stage: craft what is missing, craft again what was lost, judge for newcomers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from advbench.crafting.cell import Job, Rules, Shard, rows_of
from advbench.errors import TIME_UP, PluginError, TimeUpError
from advbench.run.cell_under_way import Stages, Step
from advbench.run.judging import Judging, fitted
from advbench.run.prepared_cell import PreparedCell
from advbench.run.session import Session
from advbench.run.work import CraftShard, MadeShard


@dataclass
class Memory:
    """How many rows fit into a pass: what one cell has found out, later ones go by."""

    batch: int | None


@dataclass
class CellStages:
    """Makes the stages of one cell, and stores what comes of them."""

    session: Session
    judging: Judging
    memory: Memory
    cell: PreparedCell
    broken: str = ""
    """Why its source can be asked no more."""
    spent: float = 0.0
    """What counts against its time limit."""

    def __iter__(self) -> Stages:
        if self.broken:
            raise PluginError(self.broken)
        label = self.cell.plan.label
        if self.cell.missing:
            self.cell = self.judging.with_perturbation(self.cell)
            yield from self._crafting(self.cell.missing, self._keep, judged=True)
        if lost := self.judging.lost(self.cell):
            self.session.reporter.say(f"{label}: perturbations are missing or damaged, and are crafted again")
            yield from self._crafting(lost, self._restore, judged=False)
        yield self._newcomers()

    def _crafting(self, shards: tuple[Shard, ...], take: Callable[[MadeShard], None], judged: bool) -> Stages:
        """One perturbation for all is fitted with the first shard, before the others can go on."""
        rest = shards
        fit = self.cell.supplies.fit
        if fit is not None and fit.perturbation is None:
            yield iter([self._crafted(shards[0], take, judged)])
            rest = shards[1:]
        yield (self._crafted(shard, take, judged) for shard in rest)

    def _crafted(self, shard: Shard, take: Callable[[MadeShard], None], judged: bool) -> Step:
        job = self._job(shard)
        panel = self.judging.panel(self.cell)
        shown = self.judging.shown(self.cell) if judged else frozenset[int]()
        task = CraftShard(self.cell.key, job, panel if judged else replace(panel, targets=()), shown)

        def taken(made: MadeShard) -> None:
            self._count(job, made)
            take(made)

        return Step(task, taken)

    def _job(self, shard: Shard) -> Job:
        suite, plan = self.session.suite, self.cell.plan
        left = None if suite.timeout is None else suite.timeout - self.spent
        return Job(
            attack=plan.attack,
            threat=plan.threat,
            targeted=plan.goal != "untargeted",
            source=self.judging.ready[plan.source].target,
            rules=Rules(suite.seed, suite.stop, suite.budget, left, suite.precision),
            batch=self.memory.batch,
            device=str(self.session.settings.device),
            shards=(shard,),
            supplies=self.cell.supplies,
        )

    def _count(self, job: Job, made: MadeShard) -> None:
        """Hold the cell to its time, and remember what fits into memory and what was fitted."""
        self.spent += made.spent
        timeout = self.session.suite.timeout
        if timeout is not None and self.spent > timeout:
            raise TimeUpError(TIME_UP)
        if made.batch < rows_of(job).size:
            self.session.reporter.say(f"out of memory: going on with batches of {made.batch}")
            self.memory.batch = made.batch
        if made.perturbation is not None:
            self.cell = fitted(self.cell, made.perturbation)

    def _keep(self, made: MadeShard) -> None:
        self.judging.keep(self.cell, made)
        self.session.reporter.shard(made.shard.span, cached=False)

    def _restore(self, made: MadeShard) -> None:
        self.judging.restore(self.cell, made)

    def _newcomers(self) -> Iterator[Step]:
        for task in self.judging.newcomers(self.cell):
            yield Step(task, partial(self.judging.add, self.cell, task.shard))
