"""Studies: what papers published, what was found, and what became of the claims."""

from __future__ import annotations

from collections.abc import Iterator

from advbench_leaderboard.facts.studies import Study
from advbench_leaderboard.site import Site
from advbench_leaderboard.tables.columns import json_value
from advbench_leaderboard.tables.form import Table, Value

STUDY = {"study": "the study’s name", "level": "how much of it was computed: smoke, hour or paper"}


def _studies(site: Site) -> Iterator[tuple[Value, ...]]:
    for study in site.studies:
        yield (
            *(study.name, study.level, study.title, study.at, len(study.numbers)),
            *(study.count("within"), study.count("outside"), study.count("beside"), study.count("absent")),
            *(study.judged("holds"), study.judged("fails"), study.judged("undecided")),
            *(study.strongest("holds"), study.strongest("fails"), study.strongest("undecided")),
        )


STUDIES = Table(
    "studies",
    "Studies",
    {**STUDY, "title": "the paper’s title", "performed": "when it was performed last", "published": "published numbers"}
    | {"within": "of these within our interval", "outside": "outside of it"}
    | {"beside": "beside a number without interval", "absent": "with none of ours"}
    | {"holds": "claims that hold", "fails": "claims that fail", "undecided": "claims that can’t be told"}
    | {"strongest_holds": "… under the strongest attack", "strongest_fails": "…", "strongest_undecided": "…"},
    _studies,
)


def _published(site: Site) -> Iterator[tuple[Value, ...]]:
    for study in site.studies:
        for one in (one for numbers in study.by_place.values() for one in numbers):
            p, ours, less = one.published, one.ours, one.difference
            yield (
                *(study.name, study.level, p.place, p.position, json_value(dict(map(tuple, p.columns)))),
                *(p.value, p.words, p.unit, p.label, p.finding, one.fate, p.absent),
                *((ours.value, ours.low, ours.high, ours.n) if ours else (None,) * 4),
                *(less or (None,) * 3),
            )


PUBLISHED = Table(
    "published",
    "Published numbers and ours",
    {**STUDY, "place": "the table or figure", "position": "which of its numbers, from 0 on"}
    | {"columns": "JSON: what the paper’s row says beside the number", "published": "the number as printed"}
    | {"words": "what is printed where it is no number", "unit": "its unit", "analysis": "where ours comes from"}
    | {"finding": "under which name", "fate": "within, outside, beside (no interval) or absent"}
    | {"absent": "why there is none of ours", "ours": "ours", "ours_low": "lower end of its 95 % interval"}
    | {"ours_high": "upper end of it", "n": "examples behind it", "difference": "ours less the published one"}
    | {"difference_low": "lower end of its interval", "difference_high": "upper end of it"},
    _published,
)


def _claims(site: Site) -> Iterator[tuple[Value, ...]]:
    for study in site.studies:
        for one in study.claims:
            yield (
                *(study.name, study.level, one.id, one.claim, one.evidence, one.test, one.agrees),
                *(one.verdict, one.words, one.strongest, one.strongest_words),
            )


CLAIMS = Table(
    "claims",
    "Claims",
    {**STUDY, "claim": "its id", "says": "what the paper claims", "evidence": "what it shows for it"}
    | {"test": "how it is tested", "own_tables": "whether the paper’s own tables agree"}
    | {"verdict": "holds, fails or undecided", "words": "the findings that say so"}
    | {
        "strongest": "the verdict under the strongest attack; empty where none is asked",
        "strongest_words": "its words",
    },
    _claims,
)


def _of_analyses(site: Site) -> Iterator[tuple[Study, str, str]]:
    return ((study, label, key) for study in site.studies for label, key in study.keys.items())


def _findings(site: Site) -> Iterator[tuple[Value, ...]]:
    for study, label, key in _of_analyses(site):
        for one in site.findings(key).values():
            yield (study.name, study.level, label, key, one.name, one.value, one.low, one.high, one.n, one.unit)


FINDINGS = Table(
    "findings",
    "Findings of analyses",
    {**STUDY, "analysis": "the analysis", "key": "its key", "finding": "the finding’s name"}
    | {"value": "its value; empty where nothing was counted", "low": "lower end of its 95 % interval"}
    | {"high": "upper end of it", "n": "examples behind it", "unit": "its unit"},
    _findings,
)


def _points(site: Site) -> Iterator[tuple[Value, ...]]:
    for study, label, key in _of_analyses(site):
        for one in site.found(key).points:
            yield (study.name, study.level, label, one.name, one.x, one.y, one.low, one.high)


POINTS = Table(
    "study_points",
    "Points of studies’ figures",
    {**STUDY, "analysis": "the analysis", "series": "the curve or marks"}
    | {"x": "where", "y": "how high", "low": "lower end of its interval", "high": "upper end of it"},
    _points,
)
