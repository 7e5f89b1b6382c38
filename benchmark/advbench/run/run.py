"""The whole run: every target ready, every cell crafted once and judged on every target, every fact stored at once."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass, replace

from advbench.data import Data
from advbench.errors import PluginError, one_line
from advbench.interrupts import listening
from advbench.plugin import Dataset
from advbench.plugins import ball_form, data_intake, sources
from advbench.plugins.registry import Registry
from advbench.run.boards import judged_examples, record_boards, record_dataset
from advbench.run.cells import Cells, supplies_of
from advbench.run.content import refuse_missing
from advbench.run.hardware import make_repeatable
from advbench.run.missing_weights import missing_weights, refuse_long_training, refuse_own_training
from advbench.run.part import Part
from advbench.run.provenance import record_run
from advbench.run.report import Reporter, Summary
from advbench.run.roster import Roster, failed_row
from advbench.run.session import Session, Settings
from advbench.run.trainings import train_missing
from advbench.store import Store
from advbench.store.rows import SkipRow
from advbench.suite.plan import Plan, make_plan
from advbench.suite.suite import Suite
from advbench.threads import one_thread

FORMED = 2
"""Images on which a stranger's ball is tried before anything is crafted in it."""


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

    Refused are attacks whose library or file is not here, data sets that are not here, or have fewer examples than are
    asked for, a ball that can't serve them, files of weights that are not here, and a training that takes long unless
    somebody wants it; in a part of a run, any training. A data set that is broken is set aside, alone.
    """
    refuse_missing({cell.attack.label: cell.attack for cell in plan.cells}.values())
    datasets: dict[Dataset, Data] = {}
    broken: dict[Dataset, str] = {}
    for dataset in dict.fromkeys(board.dataset for board in plan.suite.boards):
        try:
            datasets[dataset] = data_intake.load(dataset, settings.folders)
        except PluginError as error:
            broken[dataset] = one_line(error)
    if not datasets:
        raise PluginError("; ".join(broken.values()))
    suite = replace(plan.suite, boards=tuple(one for one in plan.suite.boards if one.dataset in datasets))
    for board in suite.boards:
        examples = judged_examples(datasets[board.dataset], board.examples, board.dataset, board.drawn)
        ball_form.hold(board.threat, examples[:FORMED].pixels())
    for cell in plan.cells:
        if cell.source.dataset in datasets:
            supplies_of(cell, suite, datasets[cell.source.dataset])
    lacking = list(missing_weights((target for target in plan.targets if target.dataset in datasets), datasets))
    if isinstance(settings.share, Part):
        refuse_own_training(lacking, settings.share)
    if not settings.train:
        refuse_long_training(lacking, settings.device)
    return Gathered(plan, suite, datasets, broken)


@listening()
def run(
    asked: Suite | Gathered, store: Store, registry: Registry, settings: Settings, reporter: Reporter | None = None
) -> Summary:
    """Run what the database lacks, and say how it ended. Failures are stored with their reason and tried again."""
    began = time.monotonic()
    summary = Summary(run=str(uuid.uuid4()))
    determinism = make_repeatable()
    gathered = asked if isinstance(asked, Gathered) else gather(make_plan(asked), settings)
    plan, datasets = gathered.plan, gathered.datasets
    session = Session(gathered.suite, datasets, store, registry, settings, reporter or Reporter(), summary)
    summary.skipped = len(plan.skips)
    sources.recall()
    record_run(session, plan.suite, determinism)
    sources.remember()
    how = "failed"
    try:
        for dataset, data in datasets.items():
            record_dataset(store, registry, dataset, data)
        summary.boards = record_boards(store, registry, gathered.suite, datasets)
        store.add_skips(summary.run, [SkipRow(**asdict(skip)) for skip in plan.skips])
        _tell_broken(session, gathered)
        targets = tuple(target for target in plan.targets if target.dataset in datasets)
        with one_thread():
            ready = Roster(session, train_missing(session, targets)).ready(targets)
        Cells(session, ready).craft(plan.cells)
        how = "finished"
    except KeyboardInterrupt:
        summary.interrupted = True
        how = "interrupted"
    finally:
        summary.seconds = time.monotonic() - began
        store.end_run(summary.run, how)
    return summary


def _tell_broken(session: Session, gathered: Gathered) -> None:
    """What was set aside before the run began has failed in it, too."""
    store, run, plan = session.store, session.summary.run, gathered.plan
    for target, reason in plan.broken:
        store.add_skips(run, [failed_row(target, reason)])
        session.tell_failure(target.label, reason)
    for dataset, reason in gathered.broken.items():
        store.add_skips(run, [failed_row(target, reason) for target in plan.targets if target.dataset == dataset])
        session.tell_failure(dataset.label, reason)
