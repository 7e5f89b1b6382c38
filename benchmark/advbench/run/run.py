"""The whole run: every target ready, every cell crafted once and judged on every target, every fact stored at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from advbench.crafting.cell import Job, Shard, rows_of
from advbench.crafting.engine import Engine, InProcess
from advbench.data import Data, DataFolders, Examples
from advbench.errors import AdvbenchError, DamagedTargetError, PluginError, TimeUpError, one_line
from advbench.interrupts import Interrupted, listening
from advbench.plugin import Attack, Dataset
from advbench.plugins import ball_form, intake
from advbench.plugins.foreign import contained
from advbench.plugins.foreign import told as telling
from advbench.plugins.registry import Registry
from advbench.problem.bank import Bank
from advbench.problem.fit import Fit
from advbench.protocol import PROTOCOL
from advbench.run.anew import Wanted, wanted, why_anew
from advbench.run.boards import judged_examples, record_boards, record_dataset
from advbench.run.derivation import cell_key, cell_says
from advbench.run.fit import fitting_set, starting_bank
from advbench.run.hardware import make_repeatable
from advbench.run.judging import Judging
from advbench.run.provenance import record_run
from advbench.run.ready import Ready, ready_target
from advbench.run.report import Reporter, Summary
from advbench.run.roster import Roster, failed_row
from advbench.run.shards import cut, shard_of
from advbench.run.unready import refuse_long_training, unready
from advbench.store import Store
from advbench.store.rows import CellRow, SkipRow
from advbench.suite.plan import CellPlan, Plan, TargetPlan, make_plan
from advbench.suite.suite import Suite

FORMED = 2
"""Images on which a stranger's ball is tried before anything is crafted in it."""


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: nothing here can change a verdict."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folders: DataFolders = field(default_factory=DataFolders.default)
    batch: int | None = None
    engine: Engine = field(default_factory=InProcess)
    command: str = ""
    train: bool = False
    """Whether to begin a training that takes long."""
    interrupted: Callable[[], bool] = lambda: False

    def check_interrupted(self) -> None:
        """Asked wherever everything that is stored is whole."""
        if self.interrupted():
            raise Interrupted


@dataclass(frozen=True)
class Gathered:
    """The data that a plan asks for, and what of its suite is left where some are broken."""

    plan: Plan
    suite: Suite
    datasets: dict[Dataset, Data]
    broken: dict[Dataset, str]
    """Data sets whose plugin fails or breaks the contract, each with the reason; they have no boards."""


@listening()
def gather(plan: Plan, settings: Settings) -> Gathered:
    """The plan's data, once it is clear that nothing is missing: asked before a database is made.

    Refused are data sets that are not here, or have fewer examples than are asked for, a ball that can't serve them,
    files of weights that are not here, and a training that takes long unless somebody wants it. A data set that is
    broken is set aside, alone.
    """
    datasets: dict[Dataset, Data] = {}
    broken: dict[Dataset, str] = {}
    for dataset in dict.fromkeys(board.dataset for board in plan.suite.boards):
        try:
            datasets[dataset] = intake.load(dataset, settings.folders)
        except PluginError as error:
            broken[dataset] = one_line(error)
    if not datasets:
        raise PluginError("; ".join(broken.values()))
    suite = replace(plan.suite, boards=tuple(one for one in plan.suite.boards if one.dataset in datasets))
    for board in suite.boards:
        examples = judged_examples(datasets[board.dataset], board.examples, board.dataset)
        ball_form.hold(board.threat, examples[:FORMED].pixels())
    for cell in plan.cells:
        if cell.source.dataset in datasets:
            cell_starts(cell, suite, datasets[cell.source.dataset])
    lacking = list(unready((target for target in plan.targets if target.dataset in datasets), datasets))
    if not settings.train:
        refuse_long_training(lacking, settings.device)
    return Gathered(plan, suite, datasets, broken)


@listening()
def run(
    asked: Suite | Gathered, store: Store, registry: Registry, settings: Settings, reporter: Reporter | None = None
) -> Summary:
    """Run what the database lacks, and say how it ended. Failures are stored with their reason and tried again."""
    reporter = reporter or Reporter()
    began = time.monotonic()
    summary = Summary(run=str(uuid.uuid4()))
    determinism = make_repeatable()
    gathered = asked if isinstance(asked, Gathered) else gather(make_plan(asked), settings)
    plan, datasets = gathered.plan, gathered.datasets
    summary.skipped = len(plan.skips)
    record_run(
        store,
        registry,
        plan.suite,
        run=summary.run,
        device=settings.device,
        command=settings.command,
        determinism=determinism,
    )
    how = "failed"
    try:
        for dataset, data in datasets.items():
            record_dataset(store, registry, dataset, data)
        summary.boards = record_boards(store, registry, gathered.suite, datasets)
        store.add_skips(summary.run, [SkipRow(**asdict(skip)) for skip in plan.skips])
        for target, reason in plan.broken:
            summary.failed.append((target.label, reason))
            store.add_skips(summary.run, [failed_row(target, reason)])
            reporter.ended(target.label, "failed", reason)
        for dataset, reason in gathered.broken.items():
            summary.failed.append((dataset.label, reason))
            rows = [failed_row(target, reason) for target in plan.targets if target.dataset == dataset]
            store.add_skips(summary.run, rows)
            reporter.ended(dataset.label, "failed", reason)
        roster = Roster(
            gathered.suite, store, registry, settings.device, datasets, reporter, summary, settings.check_interrupted
        )
        ready = roster.ready(tuple(target for target in plan.targets if target.dataset in datasets))
        Session(gathered.suite, store, registry, settings, reporter, summary, ready, datasets).craft(plan.cells)
        how = "finished"
    except KeyboardInterrupt:
        summary.interrupted = True
        how = "interrupted"
    finally:
        summary.seconds = time.monotonic() - began
        store.end_run(summary.run, how)
    return summary


class Session:
    """What one run carries from cell to cell."""

    def __init__(
        self,
        suite: Suite,
        store: Store,
        registry: Registry,
        settings: Settings,
        reporter: Reporter,
        summary: Summary,
        ready: Mapping[TargetPlan, Ready],
        datasets: Mapping[Dataset, Data],
    ) -> None:
        self.suite, self.store, self.registry = suite, store, registry
        self.settings, self.reporter, self.summary = settings, reporter, summary
        self.ready, self.datasets = dict(ready), datasets
        self.lost: dict[TargetPlan, str] = {}
        """Targets that an attack has damaged and that could not be made again, with the reason."""
        self.batch = settings.batch
        self.judging = Judging(store, summary.run, settings.device, dict(ready))

    def craft(self, cells: tuple[CellPlan, ...]) -> None:
        runnable = [cell for cell in cells if cell.source in self.ready]
        self.reporter.planned(len(runnable), sum(len(self._examples(cell)) for cell in runnable))
        if reason := why_anew(self.store, map(self._wanted, runnable)):
            self.reporter.say(reason)
        for cell in runnable:
            self.settings.check_interrupted()
            self._cell(cell)

    def _wanted(self, cell: CellPlan) -> Wanted:
        data, origin = self.datasets[cell.source.dataset], asdict(self.registry.origin(cell.attack))
        target = self.ready[cell.source].key
        return wanted(cell, self.suite, data, self._examples(cell), target=target, origin=origin)

    def _examples(self, cell: CellPlan) -> Examples:
        return judged_examples(self.datasets[cell.source.dataset], cell.examples, cell.source.dataset)

    def _cell(self, cell: CellPlan) -> None:
        source = self.ready[cell.source]
        examples = self._examples(cell)
        origin = asdict(self.registry.origin(cell.attack))
        fit, bank = cell_starts(cell, self.suite, self.datasets[cell.source.dataset])
        self.reporter.cell(cell.label)
        try:
            row = self._cell_row(cell, source, examples, origin, fit, bank)
        except PluginError as error:
            self._refuse(cell, one_line(error))
            return
        key = row.key
        self.store.add_cell(row)
        stored = self.store.shards(key)
        # a cell begun with another shard size is finished with that one
        size = next(iter(stored.values())).size if stored else shard_of(source, self.suite.shard)
        shards = cut(cell, source, examples, size=size, seed=self.suite.seed)
        missing = tuple(shard for shard in shards if shard.number not in stored)
        for shard in shards:
            if shard.number in stored:
                self.reporter.shard(shard.span, cached=True)
        began = time.monotonic()
        try:
            with contained(cell.label):
                self._make(key, cell, source, shards, missing, fit, bank)
        except KeyboardInterrupt:
            raise
        except AdvbenchError as error:
            if not isinstance(error, PluginError | TimeUpError):
                raise
            self._fail(key, cell, began, one_line(error))
            if isinstance(error, DamagedTargetError):
                self._make_again(cell.source)
        except Exception as error:
            self._fail(key, cell, began, one_line(error))
        else:
            # also for a cell that was there: of those that differ only in version, the last asked for counts
            self.store.add_event(key, self.summary.run, "done", seconds=time.monotonic() - began)
            if missing:
                self.summary.done += 1
            else:
                self.summary.kept += 1
            self.reporter.ended(cell.label, "done" if missing else "kept")

    def _make(
        self,
        key: str,
        cell: CellPlan,
        source: Ready,
        shards: list[Shard],
        missing: tuple[Shard, ...],
        fit: Fit | None,
        bank: Bank | None,
    ) -> None:
        """Craft what is missing, judge it, and have newcomers judge the rest."""
        if cell.source in self.lost:
            raise PluginError(self.lost[cell.source])
        if missing:
            fit = self.judging.with_found(fit, key, cell, shards)
        job = self._job(cell, source, missing, fit, bank)
        for crafted in self.settings.engine.craft(job) if missing else ():
            self._shrink(job, crafted.batch)
            self.judging.keep(key, cell, crafted)
            self.reporter.shard(crafted.shard.span, cached=False)
            self.settings.check_interrupted()
        if lost := self.judging.lost(key, cell, shards):
            self.reporter.say(f"{cell.label}: perturbations are missing or damaged, and are crafted again")
            for crafted in self.settings.engine.craft(self._job(cell, source, lost, fit, bank)):
                self.judging.restore(key, cell, crafted)
        self.judging.newcomers(key, cell, shards, self.settings.check_interrupted)

    def _refuse(self, cell: CellPlan, reason: str) -> None:
        """A cell that has no key, since its attack can't say what it depends on."""
        ball = f"{cell.threat.name}/{cell.threat.radius}"
        row = replace(failed_row(cell.source, reason), attack=cell.attack.label, goal=cell.goal, threat=ball)
        self.store.add_skips(self.summary.run, [row])
        self.summary.failed.append((cell.label, reason))
        self.reporter.ended(cell.label, "failed", reason)

    def _fail(self, key: str, cell: CellPlan, began: float, reason: str) -> None:
        self.store.add_event(key, self.summary.run, "failed", reason, time.monotonic() - began)
        self.summary.failed.append((cell.label, reason))
        self.reporter.ended(cell.label, "failed", reason)

    def _make_again(self, plan: TargetPlan) -> None:
        """A target that an attack has damaged is thrown away; what comes in its place must be the same."""
        damaged = self.ready[plan]
        try:
            with contained(plan.label):
                fresh, _ = ready_target(
                    plan,
                    self.datasets[plan.dataset],
                    damaged.examples,
                    registry=self.registry,
                    false_positive_rate=self.suite.false_positive_rate,
                    device=self.settings.device,
                )
            if fresh.key != damaged.key:
                raise PluginError("another one came out")
        except Exception as error:
            self.lost[plan] = f"{plan.label} was damaged by an attack and could not be made again: {one_line(error)}"
            del self.judging.ready[plan]
            self.summary.failed.append((plan.label, self.lost[plan]))
            self.reporter.ended(plan.label, "failed", self.lost[plan])
        else:
            self.ready[plan] = self.judging.ready[plan] = fresh

    def _job(self, cell: CellPlan, source: Ready, shards: tuple[Shard, ...], fit: Fit | None, bank: Bank | None) -> Job:
        return Job(
            attack=cell.attack,
            threat=cell.threat,
            targeted=cell.goal != "untargeted",
            source=source.target,
            seed=self.suite.seed,
            stop=self.suite.stop,
            budget=self.suite.budget,
            timeout=self.suite.timeout,
            batch=self.batch,
            device=str(self.settings.device),
            shards=shards,
            fit=fit,
            bank=bank,
        )

    def _cell_row(
        self,
        cell: CellPlan,
        source: Ready,
        examples: Examples,
        origin: dict[str, Any],
        fit: Fit | None,
        bank: Bank | None,
    ) -> CellRow:
        row = CellRow(
            key="",
            **cell_says(cell.attack, cell.threat, self.registry.shipper(cell.threat)),
            dataset=cell.source.dataset.label,
            data_fingerprint=self.datasets[cell.source.dataset].judge.fingerprint,
            examples=examples.fingerprint,
            count=len(examples),
            origin=origin,
            goal=cell.goal,
            stop=self.suite.stop,
            source=source.key,
            seed=self.suite.seed,
            protocol=PROTOCOL,
            budget=self.suite.budget,
            fit=self.suite.fit if cell.attack.scope == "set" else None,
            content=content_of(cell.attack),
            fit_fingerprint=None if fit is None else fit.fingerprint,
            bank_fingerprint=None if bank is None else bank.fingerprint,
        )
        return replace(row, key=cell_key(row))

    def _shrink(self, job: Job, batch: int) -> None:
        """Later cells go on with the size that fitted into memory."""
        if batch < rows_of(job).size:
            self.reporter.say(f"out of memory: going on with batches of {batch}")
            self.batch = batch


def cell_starts(cell: CellPlan, suite: Suite, data: Data) -> tuple[Fit | None, Bank | None]:
    """What the cell's attack is given beside its examples; refused where the data have none of it."""
    dataset = cell.source.dataset
    judged = judged_examples(data, cell.examples, dataset)
    fit = fitting_set(cell.attack, suite.fit, data, judged, dataset, cell.goal, suite.seed)
    return fit, starting_bank(cell.attack, cell.goal, data, dataset)


def content_of(attack: Attack) -> str:
    """What the attack says that its outcome depends on beside parameters and target."""
    with telling(f"{attack.label}: `content` failed"):
        content: object = attack.content()
    if not isinstance(content, str):
        raise PluginError(f"{attack.label}: `content` returned {type(content).__name__}, not a text")
    return content
