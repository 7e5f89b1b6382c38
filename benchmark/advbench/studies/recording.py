"""How a study stands, as rows of the store: published numbers beside findings, claims with verdicts, and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from advbench.errors import PluginError
from advbench.plugins.foreign import attributed
from advbench.plugins.registry import Registry
from advbench.store.study_rows import ClaimRow, PublishedRow, StudyAnalysisRow, StudyRow, add_study
from advbench.studies.ledger import Ledger, UnknownFindingError
from advbench.studies.published import Claim, Publication
from advbench.study import Absent, Bound, Chart, Gallery, Judged, Level, Missing, Number, Ours, Shown, Study, Table
from advbench.target.identity import content_key


@dataclass(frozen=True)
class Told:
    """What a study says of its paper, given what its analyses found."""

    paper: Mapping[str, Any]
    page: Mapping[str, Any]
    analyses: list[StudyAnalysisRow]
    numbers: list[PublishedRow]
    claims: list[ClaimRow]


def told_by(study: Study, level: Level, published: Publication, ledger: Ledger) -> Told:
    """Every number bound, every claim judged, and the page."""
    with attributed(f"the study {study.name}"):
        numbers = [_bound(study, level, number, ledger) for number in published.numbers]
        judges = study.judges(level)
        claims = [_judged(claim, judges, ledger) for claim in published.claims]
        page = page_of(study, level, published)
        labels = [analysis.label for analysis in study.analyses(level)]
    analyses = [StudyAnalysisRow(label, ledger.keys.get(label), ledger.reasons.get(label)) for label in labels]
    return Told({**published.paper, "reference": study.reference}, page, analyses, numbers, claims)


def record(
    study: Study, level: Level, published: Publication, ledger: Ledger, registry: Registry, seed: int, command: str
) -> None:
    """Bind every number, judge every claim, and store it all."""
    told = told_by(study, level, published, ledger)
    row = StudyRow(
        key="",
        name=study.label,
        level=level,
        paper=told.paper,
        page=told.page,
        origin=asdict(registry.origin(study)),
        seed=seed,
        command=command,
    )
    rows = [vars(one) for one in (*told.analyses, *told.numbers, *told.claims)]
    key = content_key({**vars(row), "command": None, "rows": rows})
    add_study(ledger.store, replace(row, key=key), told.analyses, told.numbers, told.claims)


def _bound(study: Study, level: Level, number: Number, ledger: Ledger) -> PublishedRow:
    """A published number with the name of the finding beside it, which is there, or why there is none."""
    binding: object = study.binding(number, level)
    label = finding = absent = None
    if isinstance(binding, Absent):
        absent = binding.reason
    elif isinstance(binding, Bound):
        label, finding = binding.analysis.label, binding.finding
        try:
            ledger(binding.analysis, finding)
        except UnknownFindingError as error:
            absent = str(error)
    else:
        raise PluginError(f"{number.place}, number {number.position}: neither bound nor absent")
    value, words = (number.value, None) if isinstance(number.value, float) else (None, number.value)
    return PublishedRow(
        place=number.place,
        position=number.position,
        columns=[[name, one] for name, one in number.columns.items()],
        value=value,
        words=words,
        decimals=number.decimals,
        unit=number.unit,
        label=label,
        finding=finding,
        absent=absent,
    )


def _judged(claim: Claim, judges: Mapping[str, Judged], ledger: Ledger) -> ClaimRow:
    if claim.id not in judges:
        raise PluginError(f"nobody judges the claim {claim.id}")
    asked = judges[claim.id]
    verdict = ledger.judged(asked.paper, claim.id)
    strongest = None if asked.strongest is None else ledger.judged(asked.strongest, claim.id)
    return ClaimRow(
        id=claim.id,
        claim=claim.claim,
        evidence=claim.evidence,
        test=claim.test,
        agrees=claim.agrees,
        verdict=verdict.outcome,
        words=verdict.words,
        strongest=None if strongest is None else strongest.outcome,
        strongest_words=asked.why if strongest is None else strongest.words,
    )


def page_of(study: Study, level: Level, published: Publication) -> dict[str, Any]:
    """What the page says and shows, section by section, as JSON holds it."""
    return {
        "abstract": study.abstract(),
        "captions": dict(published.captions),
        "notes": dict(published.notes),
        "sections": [
            {"title": section.title, "text": section.text, "shows": [_shown(one) for one in section.shows]}
            for section in study.sections(level)
        ],
    }


def _shown(one: Shown) -> dict[str, Any]:
    match one:
        case Table():
            return {"what": "table", "place": one.place, "across": one.across}
        case Chart():
            return {
                "what": "chart",
                "place": one.place,
                "label": one.analysis.label,
                "series": list(one.series),
                "x": one.x,
                "y": one.y,
                "kind": one.kind,
                "caption": one.caption,
                "published": [[name, [list(point) for point in points]] for name, points in one.published],
            }
        case Gallery():
            return {
                "what": "gallery",
                "place": one.place,
                "label": one.analysis.label,
                "pictures": list(one.pictures),
                "caption": one.caption,
            }
        case Ours():
            return {
                "what": "ours",
                "title": one.title,
                "label": one.analysis.label,
                "findings": list(one.findings),
                "caption": one.caption,
            }
        case Missing():
            return {"what": "missing", "place": one.place, "reason": one.reason}
    raise PluginError(f"a section shows {one!r}, which is nothing that a page can show")
