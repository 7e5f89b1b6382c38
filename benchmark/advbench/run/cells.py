"""The cells of a run, one after the other: crafted where the store lacks them, judged on every target, stored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from advbench.crafting.cell import Job, Rules, Shard, rows_of
from advbench.data import Data
from advbench.errors import DamagedTargetError, PluginError, one_line
from advbench.plugins.foreign import no_exit, spare_others
from advbench.problem.supplies import Supplies
from advbench.protocol import PROTOCOL
from advbench.run.anew import Request, request, why_anew
from advbench.run.boards import judged_examples
from advbench.run.content import content_of
from advbench.run.judging import Judging
from advbench.run.keys import cell_key, cell_says
from advbench.run.prepared_cell import PreparedCell
from advbench.run.ready import Ready, Workshop
from advbench.run.roster import failed_row
from advbench.run.session import Session
from advbench.run.shards import cut, shard_of
from advbench.run.supplies import supplies
from advbench.store.rows import CellRow
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite
from advbench.target.identity import TargetPlan


class Cells:
    """Crafts and judges cells on targets that are ready, and remembers what the next one has to know."""

    def __init__(self, session: Session, ready: Mapping[TargetPlan, Ready]) -> None:
        self.session = session
        self.ready = dict(ready)
        self.lost: dict[TargetPlan, str] = {}
        """Targets that an attack has damaged and that could not be made again, with the reason."""
        self.batch = session.settings.batch
        self.judging = Judging(session.store, session.summary.run, session.settings.device, dict(ready))

    def craft(self, cells: tuple[CellPlan, ...]) -> None:
        session = self.session
        runnable = [cell for cell in cells if cell.source in self.ready]
        session.reporter.planned(len(runnable), sum(len(session.examples(cell)) for cell in runnable))
        if reason := why_anew(session.store, map(self._request, runnable)):
            session.reporter.say(reason)
        for cell in runnable:
            session.settings.check_interrupted()
            session.reporter.cell(cell.label)
            self._craft(cell)

    def _request(self, cell: CellPlan) -> Request:
        session = self.session
        return request(
            cell,
            session.suite,
            session.data(cell),
            session.examples(cell),
            target=self.ready[cell.source].key,
            origin=asdict(session.registry.origin(cell.attack)),
        )

    def _craft(self, plan: CellPlan) -> None:
        session = self.session
        given = supplies_of(plan, session.suite, session.data(plan))
        try:
            row = self._row(plan, given)
        except PluginError as error:
            self._refuse(plan, one_line(error))
            return
        session.store.add_cell(row)
        cell = self._prepared(plan, row.key, given)
        began = time.monotonic()
        with spare_others(plan.label) as failure:
            self._make(cell)
        seconds = time.monotonic() - began
        if failure.happened:
            session.store.add_event(cell.key, session.summary.run, "failed", failure.reason, seconds)
            session.tell_failure(plan.label, failure.reason)
            if failure.of(DamagedTargetError):
                self._make_again(plan.source)
            return
        # also for a cell that was there: of those that differ only in version, the last asked for counts
        session.store.add_event(cell.key, session.summary.run, "done", seconds=seconds)
        if cell.missing:
            session.summary.done += 1
        else:
            session.summary.kept += 1
        session.reporter.ended(plan.label, "done" if cell.missing else "kept")

    def _row(self, cell: CellPlan, given: Supplies) -> CellRow:
        """The cell as the store holds it, under its key."""
        suite, registry, examples = self.session.suite, self.session.registry, self.session.examples(cell)
        row = CellRow(
            key="",
            **cell_says(cell.attack, cell.threat, registry.shipper(cell.threat)),
            dataset=cell.source.dataset.label,
            data_fingerprint=self.session.data(cell).judge.fingerprint,
            examples=examples.fingerprint,
            count=len(examples),
            origin=asdict(registry.origin(cell.attack)),
            goal=cell.goal,
            stop=suite.stop,
            source=self.ready[cell.source].key,
            seed=suite.seed,
            protocol=PROTOCOL,
            budget=suite.budget,
            fit=suite.fit if cell.attack.scope == "set" else None,
            content=content_of(cell.attack, registry),
            fit_fingerprint=None if given.fit is None else given.fit.fingerprint,
            bank_fingerprint=None if given.bank is None else given.bank.fingerprint,
        )
        return replace(row, key=cell_key(row))

    def _prepared(self, plan: CellPlan, key: str, given: Supplies) -> PreparedCell:
        """Cut into shards, and those counted that the store has."""
        session, source = self.session, self.ready[plan.source]
        stored = session.store.shards(key)
        # a cell begun with another shard size is finished with that one
        size = next(iter(stored.values())).size if stored else shard_of(source, session.suite.shard)
        shards = cut(plan, source, session.examples(plan), size=size, seed=session.suite.seed)
        for shard in shards:
            if shard.number in stored:
                session.reporter.shard(shard.span, cached=True)
        missing = tuple(shard for shard in shards if shard.number not in stored)
        return PreparedCell(key, plan, source, tuple(shards), missing, given)

    def _make(self, cell: PreparedCell) -> None:
        """Craft what is missing, judge it, and have newcomers judge the rest."""
        session, plan = self.session, cell.plan
        if plan.source in self.lost:
            raise PluginError(self.lost[plan.source])
        if cell.missing:
            cell = self.judging.with_perturbation(cell)
            job = self._job(cell, cell.missing)
            for crafted in session.settings.engine.craft(job):
                self._shrink(job, crafted.batch)
                self.judging.keep(cell, crafted)
                session.reporter.shard(crafted.shard.span, cached=False)
                session.settings.check_interrupted()
        if lost := self.judging.lost(cell):
            session.reporter.say(f"{plan.label}: perturbations are missing or damaged, and are crafted again")
            for crafted in session.settings.engine.craft(self._job(cell, lost)):
                self.judging.restore(cell, crafted)
        self.judging.newcomers(cell, session.settings.check_interrupted)

    def _job(self, cell: PreparedCell, shards: tuple[Shard, ...]) -> Job:
        suite = self.session.suite
        return Job(
            attack=cell.plan.attack,
            threat=cell.plan.threat,
            targeted=cell.plan.goal != "untargeted",
            source=cell.source.target,
            rules=Rules(suite.seed, suite.stop, suite.budget, suite.timeout),
            batch=self.batch,
            device=str(self.session.settings.device),
            shards=shards,
            supplies=cell.supplies,
        )

    def _refuse(self, cell: CellPlan, reason: str) -> None:
        """A cell that has no key, since its attack can't say what it depends on."""
        ball = f"{cell.threat.name}/{cell.threat.radius}"
        row = replace(failed_row(cell.source, reason), attack=cell.attack.label, goal=cell.goal, threat=ball)
        self.session.store.add_skips(self.session.summary.run, [row])
        self.session.tell_failure(cell.label, reason)

    def _make_again(self, plan: TargetPlan) -> None:
        """A target that an attack has damaged is thrown away; what comes in its place must be the same."""
        damaged, session = self.ready[plan], self.session
        try:
            with no_exit(plan.label):
                fresh, _ = Workshop.of(session).ready(plan, session.datasets[plan.dataset], damaged.examples)
            if fresh.key != damaged.key:
                raise PluginError("another one came out")
        except Exception as error:
            self.lost[plan] = f"{plan.label} was damaged by an attack and could not be made again: {one_line(error)}"
            del self.judging.ready[plan]
            session.tell_failure(plan.label, self.lost[plan])
        else:
            self.ready[plan] = self.judging.ready[plan] = fresh

    def _shrink(self, job: Job, batch: int) -> None:
        """Later cells go on with the size that fitted into memory."""
        if batch < rows_of(job).size:
            self.session.reporter.say(f"out of memory: going on with batches of {batch}")
            self.batch = batch


def supplies_of(cell: CellPlan, suite: Suite, data: Data) -> Supplies:
    """What the cell's attack is given beside its examples; refused where the data have none of it."""
    dataset = cell.source.dataset
    judged = judged_examples(data, cell.examples, dataset)
    return supplies(cell.attack, cell.goal, (dataset, data), judged, part=suite.fit, seed=suite.seed)
