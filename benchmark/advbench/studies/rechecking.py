"""Studies doubted: every analysis of a database performed again, what it finds held against what is stored, and with it
the numbers, verdicts and pages that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from advbench.errors import AdvbenchError, one_line
from advbench.interrupts import listening
from advbench.plugins import data_intake
from advbench.plugins.origin import identity
from advbench.plugins.registry import Registry
from advbench.run.ready import Workshop
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.faults import READING_FAILED
from advbench.store.study_rows import AnalysisRow, Performed, StudyAnalysisRow, analysis, found, performed
from advbench.studies.analysing import Shelf, found_by
from advbench.studies.asked_cells import other_cells
from advbench.studies.differences import differences
from advbench.studies.ledger import Ledger
from advbench.studies.performance import FALSE_POSITIVES, Outline, outline
from advbench.studies.published import publication
from advbench.studies.recording import told_by
from advbench.study import LEVELS, Analysis, Level, Wanted
from advbench.target.target import Target
from advbench.threads import one_thread
from advbench.weights.weights import find_weights


@dataclass
class Rechecked:
    """What became of one analysis, or of what a study says of its paper."""

    study: str
    label: str
    count: int = 0
    """Numbers, points and claims that were held against the stored ones."""
    differences: list[str] = field(default_factory=list)
    unchecked: str = ""
    """Why it could not be performed again."""
    left_out: str = ""
    """Why it was not performed in the first place, or how many of its cells are not there; no fault of the findings."""

    @property
    def sound(self) -> bool:
        return not self.differences and not self.unchecked


def recheck(store: Store, registry: Registry, settings: Settings) -> Iterator[Rechecked]:
    """Every analysis of every study as it was performed last, and what follows; nothing is run or trained for it."""
    unread = Rechecked("studies", "all of them")
    studies: list[Performed] = []
    with _doubting(unread):
        studies = performed(store)
    if unread.unchecked:
        yield unread
    for study in studies:
        yield from _Doubted(study, store, registry, settings).results()


@contextmanager
def _doubting(result: Rechecked) -> Iterator[None]:
    """What a database says may be of any form: that costs the one result."""
    try:
        with listening():
            yield
    except (AdvbenchError, *READING_FAILED) as error:
        result.unchecked = one_line(error)


@dataclass
class _Doubted:
    """One study of a database, held against the study of that name that is installed here."""

    study: Performed
    store: Store
    registry: Registry
    settings: Settings

    def results(self) -> Iterator[Rechecked]:
        whole = self._result("its analyses")
        laid_out: Outline | None = None
        with _doubting(whole):
            laid_out = outline(self.registry.study(self.study.row.name), _level(self.study.row.level), self.registry)
        if laid_out is None:
            yield whole
            return
        for one in self.study.analyses:
            result = self._result(one.label)
            with _doubting(result):
                self._find_again(result, one, laid_out)
            yield result
        result = self._result("numbers and claims beside the paper's")
        with _doubting(result):
            self._tell_again(result, laid_out)
        yield result

    def _result(self, label: str) -> Rechecked:
        return Rechecked(f"{self.study.row.name} ({self.study.row.level})", label)

    def _find_again(self, result: Rechecked, one: StudyAnalysisRow, laid_out: Outline) -> None:
        if one.analysis is None:
            result.left_out = f"not performed: {one.reason or 'no reason is stored'}"
            return
        asked = next((other for other in laid_out.analyses if other.label == one.label), None)
        if asked is None:
            raise AdvbenchError("the study that is installed here has no such analysis")
        row = analysis(self.store, one.analysis)
        if row is None:
            raise AdvbenchError("nothing is stored of it")
        with one_thread():
            shelf = self._shelf(asked, row, laid_out, result)
            if shelf.key(asked, shelf.reads(asked)) != row.key:
                raise AdvbenchError("it reads other cells, targets or data here, or its source has changed since")
            fresh = found_by(asked, shelf, lambda fraction, text: self.settings.check_interrupted())
        stored = found(self.store, row.key)
        result.count = len(stored.findings) + len(stored.points)
        result.differences += differences(fresh, stored)

    def _shelf(self, asked: Analysis, row: AnalysisRow, laid_out: Outline, result: Rechecked) -> Shelf:
        """What the analysis reads: cells as it says that it has read them, targets from weights that are here."""
        suites = {str(suite): list(map(str, keys)) for suite, keys in row.reads["suites"].items()}
        known = {cell.key: cell for cell in self.store.cells()}
        cells = {key for keys in suites.values() for key in keys}
        if lost := sorted(cells - known.keys()):
            raise AdvbenchError(f"the cell {lost[0][:12]} that it has read is not in this database")
        named = {*asked.inputs.data, *(wanted.dataset for wanted in asked.inputs.targets)}
        plans = [laid_out.plans[suite] for suite in asked.inputs.suites if suite in laid_out.plans]
        named |= {known[key].dataset for key in cells}
        named |= {board.dataset.label for plan in plans for board in plan.suite.boards}
        datasets = {}
        for name in sorted(named):
            dataset = self.registry.dataset(name)
            datasets[name] = dataset, data_intake.load(dataset, self.settings.folders)
        for plan in plans:
            read = suites.get(plan.suite.name, [])
            wrong, lacking = other_cells(plan, read, self.store, self.registry, dict(datasets.values()))
            result.differences += wrong
            if lacking:
                result.left_out = f"{lacking} of {len(plan.cells)} cells of the suite {plan.suite.name} are not there"
        targets: dict[Wanted, Target] = {}
        for wanted in asked.inputs.targets:
            target = laid_out.wanted[wanted]
            data = datasets[wanted.dataset][1]
            if find_weights(target, data) is None:
                raise AdvbenchError(f"the weights of {target.label} are not on this machine")
            workshop = Workshop(self.registry, self.settings.device, FALSE_POSITIVES)
            targets[wanted] = workshop.ready(target, data, data.judge[:1])[0].target
        return Shelf(
            self.store, self.registry, self.settings, laid_out.level, row.seed, suites, {}, targets, {}, datasets
        )

    def _tell_again(self, result: Rechecked, laid_out: Outline) -> None:
        """Bindings, verdicts and the page follow from the findings: they are worked out from the stored ones."""
        study, row = laid_out.study, self.study.row
        if identity(row.origin) != identity(asdict(self.registry.origin(study))):
            raise AdvbenchError("the study that is installed here is another version")
        keys = {one.label: one.analysis for one in self.study.analyses if one.analysis}
        reasons = {one.label: one.reason or "" for one in self.study.analyses if not one.analysis}
        told = told_by(study, laid_out.level, publication(study), Ledger(self.store, keys, reasons))
        result.count = len(told.numbers) + len(told.claims)
        for what, ours, theirs in (
            ("the list of its analyses", told.analyses, list(self.study.analyses)),
            ("what it says of its paper", told.paper, row.paper),
            ("what its page says and shows", told.page, row.page),
        ):
            if ours != theirs:
                result.differences.append(f"{what} is not what the study here says")
        numbers = {(one.place, one.position): one for one in self.study.published}
        claims = {one.id: one for one in self.study.claims}
        for number in told.numbers:
            if number != numbers.pop((number.place, number.position), None):
                result.differences.append(
                    f"{number.place}, number {number.position}: another number or binding is stored"
                )
        for claim in told.claims:
            if claim != (stored := claims.pop(claim.id, None)):
                verdict = "nothing" if stored is None else f"{stored.verdict} ({stored.words})"
                result.differences.append(f"{claim.id}: {claim.verdict} ({claim.words}) instead of {verdict}")
        result.differences += [f"{place}, number {at}: the paper has none" for place, at in numbers]
        result.differences += [f"{claim}: the paper claims no such thing" for claim in claims]


def _level(text: str) -> Level:
    if text not in LEVELS:
        raise ValueError(f"there is no level {text!r}")
    return next(level for level in LEVELS if level == text)
