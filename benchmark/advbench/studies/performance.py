"""A study performed: its suites run, its analyses performed, its numbers bound, its claims judged, all of it stored.

What is there is kept: cells by their keys, findings by theirs. So a study that is cut off goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from advbench.data import Data
from advbench.errors import AdvbenchError, NotInstalledError, PluginError, one_line
from advbench.interrupts import listening
from advbench.plugin import Dataset
from advbench.plugins import data_intake
from advbench.plugins.foreign import attributed
from advbench.plugins.registry import Registry
from advbench.run.missing_weights import MissingWeights, missing_weights, refuse_long_training
from advbench.run.ready import Workshop
from advbench.run.report import Reporter
from advbench.run.run import gather, run
from advbench.run.session import Settings
from advbench.run.trainings import Trainings
from advbench.store import Store
from advbench.store.study_rows import performed
from advbench.studies.analysing import Shelf, perform
from advbench.studies.ledger import Ledger
from advbench.studies.published import publication
from advbench.studies.recording import record
from advbench.study import Analysis, Level, Study, Wanted
from advbench.suite.plan import Plan, make_plan
from advbench.suite.suite import suite_from_mapping
from advbench.target.identity import TargetPlan
from advbench.target.target import Target
from advbench.threads import one_thread

FALSE_POSITIVES = 0.05
"""The rate that detectors are set to behind which an analysis asks a target."""

SettingsFor = Callable[[Plan | None], Settings]
"""How to run a plan: with as many processes as it is worth. None for what is no plan."""


@dataclass
class Outline:
    """What a study would do at a level, with everything looked up before anything is begun."""

    study: Study
    level: Level
    plans: dict[str, Plan] = field(default_factory=dict)
    """Plans by the names of their suites."""
    analyses: tuple[Analysis, ...] = ()
    wanted: dict[Wanted, TargetPlan] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a suite can't be run here: an extra or a data set is missing."""
    seed: int = 0
    """Of the first suite, from which analyses draw as well, whether or not it can be run."""


@dataclass
class Performance:
    """How a study ended."""

    study: str
    level: Level
    done: int = 0
    kept: int = 0
    """Analyses performed now, and those that were there."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Suites, cells and analyses, each with the reason."""
    interrupted: bool = False
    seconds: float = 0.0


def outline(study: Study, level: Level, registry: Registry) -> Outline:
    """Suites planned and targets looked up; what names something that is not here is set aside with the reason."""
    with attributed(f"the study {study.name}"):
        suites, analyses = study.suites(level), study.analyses(level)
        seed = int(next((suite.get("seed", 0) for suite in suites), 0))
    laid_out = Outline(study, level, analyses=analyses, seed=seed)
    for mapping in suites:
        name = str(mapping.get("name", ""))
        if not name or name in laid_out.plans or name in laid_out.missing:
            raise PluginError(f"the study {study.name}: every suite needs a name of its own, not {name!r}")
        try:
            laid_out.plans[name] = make_plan(suite_from_mapping(mapping, registry, name=name))
        except AdvbenchError as error:
            laid_out.missing[name] = one_line(error)
    for analysis in analyses:
        for wanted in analysis.inputs.targets:
            laid_out.wanted[wanted] = TargetPlan(
                registry.dataset(wanted.dataset), registry.model(wanted.model), registry.defense(wanted.defense)
            )
    return laid_out


@listening()
def perform_study(
    laid_out: Outline,
    store: Store,
    registry: Registry,
    settings_for: SettingsFor,
    reporter: Reporter,
    ended: Performance | None = None,
) -> Performance:
    """Do what the database lacks, and write down how the study stands; interrupted, it goes on another time.

    What became of it is also in `ended` where one is given, as far as it came when an error is raised.
    """
    began = time.monotonic()
    ended = ended or Performance(laid_out.study.label, laid_out.level)
    try:
        _Stage(laid_out, store, registry, settings_for, reporter, ended).perform()
    except KeyboardInterrupt:
        ended.interrupted = True
    finally:
        ended.seconds = time.monotonic() - began
    return ended


def lost_weights(plan: TargetPlan) -> str:
    """Why a target can't be made whose model names a file of weights that is not here; empty where it can."""
    path = plan.model.weights_file
    if path is None or path.is_file():
        return ""
    return f"{plan.label}: {plan.model.weights} is in no data folder; ADVBENCH_DATA names them"


@dataclass
class _Stage:
    """One study under way."""

    laid_out: Outline
    store: Store
    registry: Registry
    settings_for: SettingsFor
    reporter: Reporter
    ended: Performance
    suites: dict[str, list[str]] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    data: dict[str, tuple[Dataset, Data]] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)

    def perform(self) -> None:
        study, level = self.laid_out.study, self.laid_out.level
        published = publication(study)
        self._load()
        self._leave_out_long_trainings()
        for name, plan in self.laid_out.plans.items():
            self._run(name, plan)
        self.unfinished |= self.laid_out.missing
        for name, reason in self.unfinished.items():
            self.ended.failed.append((f"suite {name}", reason))
        settings = self.settings_for(None)
        targets, missing = self._targets(settings)
        seed = self.laid_out.seed
        shelf = Shelf(
            self.store, self.registry, settings, level, seed, self.suites, self.unfinished, targets, missing, self.data
        )
        keys, reasons = self._analyse(shelf)
        if not keys and any((one.row.name, one.row.level) == (study.label, level) for one in performed(self.store)):
            self.reporter.say(f"Nothing of {study.label} could be performed, so what was said of it before stays.")
            return
        ledger = Ledger(self.store, keys, reasons)
        record(study, level, published, ledger, self.registry, seed, settings.command)
        self.ended.failed += [(label, f"found nothing that is called {name!r}") for label, name in ledger.unknown]

    def _load(self) -> None:
        """The data that suites and analyses name, as far as they are here."""
        settings = self.settings_for(None)
        named = {board.dataset for plan in self.laid_out.plans.values() for board in plan.suite.boards}
        named |= {plan.dataset for plan in self.laid_out.wanted.values()}
        asked = {name for analysis in self.laid_out.analyses for name in analysis.inputs.data}
        named |= {self.registry.dataset(name) for name in asked}
        for dataset in sorted(named, key=lambda one: one.label):
            try:
                self.data[dataset.label] = dataset, data_intake.load(dataset, settings.folders)
            except AdvbenchError as error:
                self.reporter.say(f"{dataset.label}: {one_line(error)}")

    def _leave_out_long_trainings(self) -> None:
        """Said before anything is begun, rather than after an hour of it: who wants them says so."""
        settings = self.settings_for(None)
        datasets = dict(self.data.values())
        together: list[MissingWeights] = []
        for name, plan in self.laid_out.plans.items() if not settings.train else ():
            here = [target for target in plan.targets if target.dataset in datasets and not lost_weights(target)]
            known = {one.key for one in together}
            more = [one for one in missing_weights(here, datasets) if one.key not in known]
            try:  # the limit is one for all suites: an hour is as long in six pieces
                refuse_long_training([*together, *more], settings.device)
                together += more
            except AdvbenchError as error:
                self.unfinished[name] = one_line(error)
                self.reporter.say(f"Suite {name} is left out: {one_line(error)}")

    def _run(self, name: str, plan: Plan) -> None:
        """Run one suite, and remember which of its cells are whole."""
        if name in self.unfinished:
            return
        lacking = {board.dataset.label for board in plan.suite.boards} - set(self.data)
        if lacking:
            self.unfinished[name] = f"{', '.join(sorted(lacking))} is not on this machine; `advbench data` says more"
            return
        if not plan.cells:
            self.unfinished[name] = "; ".join(plan.reasons) or "nothing to run"
            return
        if lost := next(filter(None, map(lost_weights, plan.targets)), ""):
            self.unfinished[name] = lost
            return
        settings = replace(self.settings_for(plan), thresholds=self.thresholds)
        self.reporter.say(f"Suite {name}: {len(plan.cells)} cells.")
        try:
            gathered = gather(plan, settings)
        except AdvbenchError as error:  # it would train for long, say; the other suites need not
            self.unfinished[name] = one_line(error)
            return
        try:
            summary = run(gathered, self.store, self.registry, settings, self.reporter)
        except NotInstalledError as error:
            self.unfinished[name] = one_line(error)
            return
        self.suites[name] = summary.cells
        self.ended.failed += summary.failed
        if summary.interrupted:
            raise KeyboardInterrupt
        if not summary.cells:
            self.unfinished[name] = summary.failed[0][1] if summary.failed else "no cell was finished"

    def _targets(self, settings: Settings) -> tuple[dict[Wanted, Target], dict[Wanted, str]]:
        """The networks that analyses ask themselves, trained where that is needed."""
        missing = {
            wanted: lost_weights(plan) if wanted.dataset in self.data else f"{wanted.dataset} is not on this machine"
            for wanted, plan in self.laid_out.wanted.items()
        }
        missing = {wanted: reason for wanted, reason in missing.items() if reason}
        here = {wanted: plan for wanted, plan in self.laid_out.wanted.items() if wanted not in missing}
        datasets = dict(self.data.values())
        if not settings.train:
            for wanted, plan in list(here.items()):
                try:
                    refuse_long_training(missing_weights([plan], datasets), settings.device)
                except AdvbenchError as error:
                    missing[wanted] = one_line(error)
                    del here[wanted]
        lacking = list(missing_weights(here.values(), datasets))
        for trained in Trainings(settings.engine, settings.device, self._heard).train(lacking):
            self.reporter.trained(trained.asked.label)
        workshop = Workshop(self.registry, settings.device, FALSE_POSITIVES)
        targets: dict[Wanted, Target] = {}
        for wanted, plan in here.items():
            settings.check_interrupted()
            data = datasets[plan.dataset]
            try:
                with one_thread():
                    ready, _ = workshop.ready(plan, data, data.judge[:1])
                targets[wanted] = ready.target
            except AdvbenchError as error:
                missing[wanted] = one_line(error)
        return targets, missing

    def _heard(self, label: str, fraction: float, text: str) -> None:
        self.settings_for(None).check_interrupted()
        self.reporter.training(label, fraction, text)

    def _analyse(self, shelf: Shelf) -> tuple[dict[str, str], dict[str, str]]:
        """Keys of what was found by the labels of the analyses, and why others found nothing."""
        keys: dict[str, str] = {}
        reasons: dict[str, str] = {}
        analyses = self.laid_out.analyses
        for place, asked in enumerate(analyses):
            if asked.label in keys or asked.label in reasons:
                raise PluginError(f"the study {self.laid_out.study.name} has two analyses called {asked.label}")

            def progress(fraction: float, text: str, label: str = asked.label) -> None:
                shelf.settings.check_interrupted()
                self.reporter.analysing(label, fraction, text)

            progress(0.0, f"{place + 1} of {len(analyses)}")
            if reason := shelf.lacking(asked):
                reasons[asked.label] = reason
                if reason not in {known for _, known in self.ended.failed}:  # its suite's is told once
                    self.ended.failed.append((asked.label, reason))
                continue
            with one_thread():
                key, there, failure = perform(asked, shelf, progress)
            if failure.happened:
                reasons[asked.label] = failure.reason
                self.ended.failed.append((asked.label, failure.reason))
                continue
            keys[asked.label] = key
            self.ended.kept += there
            self.ended.done += not there
        return keys, reasons
