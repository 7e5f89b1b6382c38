"""The cells of a run: crafted where the store lacks them, judged on every target, stored as their shards come in.

Several cells are under way at a time where the engine performs several tasks. What is stored does not depend on that:
the shards of a cell are taken in their order, so that a failure ends a cell at the same place, and the events that say
how cells ended are written in the order of the plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from contextlib import closing
from dataclasses import asdict, replace

from advbench.data import Data
from advbench.engines.crew import Crew, Task
from advbench.errors import DamagedTargetError, PluginError, one_line
from advbench.interrupts import Interrupted
from advbench.plugins.foreign import no_exit
from advbench.problem.supplies import Supplies
from advbench.protocol import PROTOCOL
from advbench.run.anew import Request, request, why_anew
from advbench.run.boards import judged_examples
from advbench.run.cell_under_way import CellUnderWay
from advbench.run.content import content_of
from advbench.run.judging import Judging
from advbench.run.keys import cell_key, cell_says
from advbench.run.part import Part, Share, digest_of
from advbench.run.prepared_cell import PreparedCell
from advbench.run.ready import Ready, Workshop
from advbench.run.roster import failed_row
from advbench.run.session import Session
from advbench.run.shards import cut, shard_of
from advbench.run.stages import CellStages, Memory
from advbench.run.supplies import supplies
from advbench.store import parts
from advbench.store.rows import CellRow
from advbench.suite.plan import CellPlan
from advbench.suite.suite import Suite
from advbench.target.identity import TargetPlan
from advbench.threads import one_thread


class Cells:
    """Crafts and judges cells on targets that are ready, and remembers what the next one has to know."""

    def __init__(self, session: Session, ready: Mapping[TargetPlan, Ready]) -> None:
        self.session = session
        self.ready = dict(ready)
        self.lost: dict[TargetPlan, str] = {}
        """Targets that an attack has damaged and that could not be made again, with the reason."""
        self.memory = Memory(session.settings.batch)
        self.judging = Judging(session.store, session.summary.run, session.settings.device, dict(ready))
        self._supplies: dict[Hashable, Supplies] = {}
        self._keys: list[str] = []
        """Of all cells that are asked for, whoever performs them."""
        self._waiting: deque[CellPlan] = deque()
        self._under_way: list[CellUnderWay] = []
        """In the order of the plan; those that are over wait until all before them are."""

    def craft(self, cells: tuple[CellPlan, ...]) -> None:
        session = self.session
        runnable = [cell for cell in cells if cell.source in self.ready]
        if session.settings.share is None:
            session.reporter.planned(len(runnable), sum(len(session.examples(cell)) for cell in runnable))
        else:
            runnable = self._allotted(runnable, session.settings.share, len(cells))
        if reason := why_anew(session.store, map(self._request, runnable)):
            session.reporter.say(reason)
        self._waiting.extend(runnable)
        with one_thread(), closing(session.settings.engine.crew()) as crew:
            if self._performed_by(crew):
                raise Interrupted
        if session.settings.share is None and len(self._keys) == len(cells):
            parts.add(session.store, session.summary.run, 1, 1, digest_of(self._keys))

    def _allotted(self, cells: list[CellPlan], share: Share, planned: int) -> list[CellPlan]:
        """Those of which this run has a share, told as what there is to do.

        Which part it is, is written down where all that are `planned` can be named: parts know each other by that.
        """
        session, mine, shards, examples = self.session, [], 0, 0
        for cell in cells:
            try:
                key = self._row(cell, self._supplies_of(cell)).key
            except PluginError:  # said again, as its failure, where it begins
                mine.append(cell)
                continue
            self._keys.append(key)
            size, count = self._size(cell, key), len(session.examples(cell))
            numbers = self._share(cell, key, -(-count // size))
            if numbers:
                mine.append(cell)
                shards += len(numbers)
                examples += sum(min(size, count - size * number) for number in numbers)
        session.reporter.planned(len(mine), examples)
        if isinstance(share, Part):
            if len(self._keys) == planned:
                parts.add(session.store, session.summary.run, share.number, share.of, digest_of(self._keys))
            session.reporter.say(f"Part {share} of {session.suite.name}: {shards} shards of {len(mine)} cells.")
        return mine

    def _performed_by(self, crew: Crew) -> bool:
        """Have everything performed; True where somebody wanted it to stop, once what was begun is stored."""
        flying: dict[int, tuple[CellUnderWay, int]] = {}
        stopped = False
        while True:
            stopped = stopped or self.session.settings.interrupted()
            while not stopped and crew.room > 0 and (piece := self._next_piece()):
                cell, place, task = piece
                flying[crew.submit(task)] = cell, place
            self._settle()
            if not flying:
                return stopped
            ended = crew.next()
            cell, place = flying.pop(ended.number)
            cell.back(place, ended)
            if isinstance(ended.error, DamagedTargetError) and not crew.apart:
                self._make_again(cell.cell.plan.source)

    def _next_piece(self) -> tuple[CellUnderWay, int, Task] | None:
        """A task of a cell that is under way, or else of the next one."""
        for cell in self._under_way:
            if piece := cell.step():
                return cell, *piece
        most = 2 * self.session.settings.engine.workers
        while self._waiting and sum(not cell.over for cell in self._under_way) < most:
            if (begun := self._begun(self._waiting.popleft())) and (piece := begun.step()):
                return begun, *piece
        return None

    def _begun(self, plan: CellPlan) -> CellUnderWay | None:
        session = self.session
        session.reporter.cell(plan.label)
        given = self._supplies_of(plan)
        try:
            row = self._row(plan, given)
        except PluginError as error:
            self._refuse(plan, one_line(error))
            return None
        self._keys.append(row.key)
        session.store.add_cell(row)
        cell = self._prepared(plan, row.key, given)
        broken = self.lost.get(plan.source, "")
        under_way = CellUnderWay(cell, iter(CellStages(session, self.judging, self.memory, cell, broken)))
        self._under_way.append(under_way)
        return under_way

    def _supplies_of(self, plan: CellPlan) -> Supplies:
        """The same object for all cells that are given the same, so that no process is sent images twice."""
        attack, dataset = plan.attack, plan.source.dataset
        place = (dataset.label, plan.goal, attack.scope, attack.uses_bank, plan.examples, plan.drawn)
        if place not in self._supplies:
            self._supplies[place] = supplies_of(plan, self.session.suite, self.session.data(plan))
        return self._supplies[place]

    def _settle(self) -> None:
        """Write how cells ended, in the order of the plan."""
        while self._under_way and self._under_way[0].over:
            self._ended(self._under_way.pop(0))

    def _ended(self, under_way: CellUnderWay) -> None:
        session, cell, failure = self.session, under_way.cell, under_way.failure
        run, seconds = session.summary.run, under_way.seconds
        if failure.happened:
            session.store.add_event(cell.key, run, "failed", failure.reason, seconds)
            session.tell_failure(cell.plan.label, failure.reason)
            return
        # also for a cell that was there: of cells that differ only in version, that of the newest event counts
        if cell.count == len(cell.shards) or cell.count == len(session.store.shards(cell.key)):
            session.summary.cells.append(cell.key)
            session.store.add_event(cell.key, run, "done", seconds=seconds)
        if cell.missing:
            session.summary.done += 1
        else:
            session.summary.kept += 1
        session.reporter.ended(cell.plan.label, "done" if cell.missing else "kept")

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
            precision=None if suite.precision == "float32" else suite.precision,
        )
        return replace(row, key=cell_key(row))

    def _prepared(self, plan: CellPlan, key: str, given: Supplies) -> PreparedCell:
        """Cut into shards, and those counted that the store has."""
        session, source = self.session, self.ready[plan.source]
        stored = session.store.shards(key)
        examples = session.examples(plan)
        shards = cut(plan, source, examples, size=self._size(plan, key), seed=session.suite.seed)
        numbers, count = self._share(plan, key, len(shards)), len(shards)
        shards = [shard for shard in shards if shard.number in numbers]
        for shard in shards:
            if shard.number in stored:
                session.reporter.shard(shard.span, cached=True)
        missing = tuple(shard for shard in shards if shard.number not in stored)
        return PreparedCell(key, plan, source, examples, tuple(shards), count, missing, given)

    def _size(self, plan: CellPlan, key: str) -> int:
        """Of a shard; a cell begun with another size is finished with that one."""
        stored = self.session.store.shards(key)
        return (
            next(iter(stored.values())).size if stored else shard_of(self.ready[plan.source], self.session.suite.shard)
        )

    def _share(self, plan: CellPlan, key: str, count: int) -> frozenset[int]:
        """The shards, by number, that this run performs of a cell."""
        share = self.session.settings.share
        whole = frozenset(range(count))
        return whole if share is None else whole & share.shards(key, count, together=plan.attack.scope == "set")

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


def supplies_of(cell: CellPlan, suite: Suite, data: Data) -> Supplies:
    """What the cell's attack is given beside its examples; refused where the data have none of it."""
    dataset = cell.source.dataset
    judged = judged_examples(data, cell.examples, dataset, cell.drawn)
    return supplies(cell.attack, cell.goal, (dataset, data), judged, part=suite.fit, seed=suite.seed)
