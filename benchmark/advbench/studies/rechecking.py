"""Findings doubted: every analysis of a database performed again, and what it finds held against what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from advbench.errors import AdvbenchError, one_line
from advbench.interrupts import listening
from advbench.plugins import data_intake
from advbench.plugins.registry import Registry
from advbench.run.ready import Workshop
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.study_rows import AnalysisRow, FindingRow, Found, Performed, PointRow, analysis, found, performed
from advbench.studies.analysing import Shelf, found_by
from advbench.studies.performance import FALSE_POSITIVES, Outline, outline
from advbench.study import Analysis, Level
from advbench.target.target import Target
from advbench.threads import one_thread
from advbench.weights.weights import find_weights

NEAR = 1e-4
"""Relative to a number's size: how far another machine's rounding may move what is worked out from networks."""


@dataclass
class Rechecked:
    """What became of one analysis."""

    study: str
    label: str
    count: int = 0
    """Numbers and points that were held against the stored ones."""
    differences: list[str] = field(default_factory=list)
    unchecked: str = ""
    """Why it could not be performed again."""

    @property
    def sound(self) -> bool:
        return not self.differences and not self.unchecked


@listening()
def recheck(store: Store, registry: Registry, settings: Settings) -> Iterator[Rechecked]:
    """Every analysis of every study as it was performed last; nothing is run or trained for it."""
    for study in performed(store):
        try:
            laid_out = outline(registry.study(study.row.name), _level(study.row.level), registry)
        except (AdvbenchError, ValueError) as error:
            yield Rechecked(study.row.name, "its analyses", unchecked=one_line(error))
            continue
        for one in study.analyses:
            if one.analysis is not None and (row := analysis(store, one.analysis)) is not None:
                yield _one(study, row, laid_out, store, registry, settings)


def _one(
    study: Performed, row: AnalysisRow, laid_out: Outline, store: Store, registry: Registry, settings: Settings
) -> Rechecked:
    result = Rechecked(f"{study.row.name} ({study.row.level})", row.label)
    asked = next((one for one in laid_out.analyses if one.label == row.label), None)
    if asked is None:
        result.unchecked = "the study that is installed here has no such analysis"
        return result
    try:
        shelf = _shelf(asked, row, laid_out, store, registry, settings)
        with one_thread():
            if shelf.key(asked, shelf.reads(asked)) != row.key:
                result.unchecked = "it reads other cells, targets or data here, or its source has changed since"
                return result
            fresh = found_by(asked, shelf, lambda fraction, text: settings.check_interrupted())
    except AdvbenchError as error:
        result.unchecked = one_line(error)
        return result
    stored = found(store, row.key)
    result.count = len(stored.findings) + len(stored.points)
    result.differences += differences(fresh, stored)
    return result


def _shelf(
    asked: Analysis, row: AnalysisRow, laid_out: Outline, store: Store, registry: Registry, settings: Settings
) -> Shelf:
    """What the analysis reads: cells as it says that it has read them, targets from weights that are here."""
    datasets = {}
    named = {*asked.inputs.data, *(wanted.dataset for wanted in asked.inputs.targets)}
    cells = {key for keys in row.reads.get("suites", {}).values() for key in keys}
    known = {cell.key: cell for cell in store.cells()}
    if lost := sorted(cells - known.keys()):
        raise AdvbenchError(f"the cell {lost[0][:12]} that it has read is not in this database")
    named |= {known[key].dataset for key in cells}
    for name in sorted(named):
        dataset = registry.dataset(name)
        datasets[name] = dataset, data_intake.load(dataset, settings.folders)
    targets: dict[object, Target] = {}
    for wanted in asked.inputs.targets:
        plan = laid_out.wanted[wanted]
        data = datasets[wanted.dataset][1]
        if find_weights(plan, data) is None:
            raise AdvbenchError(f"the weights of {plan.label} are not on this machine")
        workshop = Workshop(registry, settings.device, FALSE_POSITIVES)
        targets[wanted] = workshop.ready(plan, data, data.judge[:1])[0].target
    return Shelf(
        store,
        registry,
        settings,
        laid_out.level,
        row.seed,
        {suite: list(keys) for suite, keys in row.reads.get("suites", {}).items()},
        {},
        targets,  # type: ignore[arg-type]
        {},
        datasets,
    )


def differences(fresh: Found, stored: Found) -> list[str]:
    """Where what is found again is not what is stored, in words."""
    wrong = []
    ours = {one.name: one for one in fresh.findings}
    for one in stored.findings:
        if one.name not in ours:
            wrong.append(f"{one.name}: not found again")
        elif any(_apart(a, b) for a, b in zip(_numbers(ours[one.name]), _numbers(one), strict=True)):
            wrong.append(f"{one.name}: {ours[one.name].value} instead of {one.value}")
    wrong += [f"{name}: not stored" for name in ours.keys() - {one.name for one in stored.findings}]
    if [(p.series, p.name) for p in fresh.points] != [(p.series, p.name) for p in stored.points]:
        wrong.append("other points are stored")
    else:
        pairs = zip(fresh.points, stored.points, strict=True)
        moved = [one.name for other, one in pairs if any(map(_apart, _places(other), _places(one)))]
        wrong += [f"a point of {name} lies elsewhere" for name in dict.fromkeys(moved)]
    if len(fresh.pictures) != len(stored.pictures):
        wrong.append(f"{len(stored.pictures)} pictures are stored, {len(fresh.pictures)} come out")
    return wrong


def _numbers(one: FindingRow) -> Sequence[float | None]:
    return one.value, one.low, one.high, None if one.n is None else float(one.n)


def _places(one: PointRow) -> Sequence[float | None]:
    return one.x, one.y, one.low, one.high


def _apart(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is not b
    return abs(a - b) > NEAR * max(1.0, abs(a), abs(b))


def _level(text: str) -> Level:
    levels: dict[str, Level] = {"smoke": "smoke", "hour": "hour", "paper": "paper"}
    if text not in levels:
        raise ValueError(f"there is no level {text!r}")
    return levels[text]
