"""Studies and what their analyses found, as records, and their doors to the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from advbench.store.database import Store, now
from advbench.store.rows import listed


@dataclass(frozen=True)
class AnalysisRow:
    """An analysis as it was performed; `reads` are the cells, targets and data that its key takes in."""

    key: str
    name: str
    label: str
    params: Mapping[str, Any]
    origin: Mapping[str, Any]
    reads: Mapping[str, Any]
    seed: int
    seconds: float
    versions: Mapping[str, Any] | None
    hardware: Mapping[str, Any] | None


@dataclass(frozen=True)
class FindingRow:
    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    unit: str


@dataclass(frozen=True)
class PointRow:
    """A point of the series of that number and name."""

    series: int
    position: int
    name: str
    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PictureRow:
    """Pixels are zlib of bytes, channels first."""

    name: str
    caption: str
    channels: int
    height: int
    width: int
    pixels: bytes


@dataclass(frozen=True)
class StudyRow:
    """How a study stood when it was performed; `page` holds its text and what every section shows."""

    key: str
    name: str
    level: str
    paper: Mapping[str, Any]
    page: Mapping[str, Any]
    origin: Mapping[str, Any]
    seed: int
    command: str | None


@dataclass(frozen=True)
class StudyAnalysisRow:
    """Under which label a study knows an analysis: its key, or why it could not be performed."""

    label: str
    analysis: str | None
    reason: str | None


@dataclass(frozen=True)
class PublishedRow:
    """A published number, and the finding that stands beside it or why none does."""

    place: str
    position: int
    columns: Sequence[Sequence[Any]]
    """Names and values, in the order of the paper."""
    value: float | None
    words: str | None
    """The value where it is no number."""
    decimals: int
    unit: str
    label: str | None
    finding: str | None
    absent: str | None


@dataclass(frozen=True)
class ClaimRow:
    id: str
    claim: str
    evidence: str
    test: str
    agrees: str
    verdict: str
    words: str
    strongest: str | None
    strongest_words: str


@dataclass(frozen=True)
class Found:
    """All that one analysis found."""

    findings: Sequence[FindingRow]
    points: Sequence[PointRow]
    pictures: Sequence[PictureRow]


@dataclass(frozen=True)
class Performed:
    """A study as it was last performed at a level."""

    row: StudyRow
    at: str
    number: int
    analyses: Sequence[StudyAnalysisRow]
    published: Sequence[PublishedRow]
    claims: Sequence[ClaimRow]


_ANALYSIS = "(SELECT id FROM analyses WHERE key = ?)"


def add_analysis(store: Store, row: AnalysisRow, found: Found) -> None:
    """In one transaction; an analysis of that key which is there already stays."""
    with store.transaction():
        if not store.insert("analyses", [{"id": None, "at": now(), **vars(row)}]):
            return
        place = {"analysis": store.id_of("analyses", row.key)}
        for table, rows in (("findings", found.findings), ("pictures", found.pictures)):
            store.insert(table, ({**vars(one), "position": position} for position, one in enumerate(rows)), place)
        store.insert("points", (vars(one) for one in found.points), place)


def analysis(store: Store, key: str) -> AnalysisRow | None:
    rows = store.read(AnalysisRow, f"SELECT {listed(AnalysisRow)} FROM analyses WHERE key = ?", key)
    return rows[0] if rows else None


def found(store: Store, key: str) -> Found:
    return Found(
        store.read(FindingRow, _of(FindingRow, "findings", "position"), key),
        store.read(PointRow, _of(PointRow, "points", "series, position"), key),
        store.read(PictureRow, _of(PictureRow, "pictures", "position"), key),
    )


def findings(store: Store, key: str) -> dict[str, FindingRow]:
    """The numbers of an analysis by name."""
    return {row.name: row for row in store.read(FindingRow, _of(FindingRow, "findings", "position"), key)}


def add_study(
    store: Store,
    row: StudyRow,
    analyses: Iterable[StudyAnalysisRow],
    published: Iterable[PublishedRow],
    claims: Iterable[ClaimRow],
) -> None:
    """In one transaction; nothing is written where the newest of that name and level is the same."""
    with store.transaction():
        before = store.rows(
            "SELECT key FROM studies WHERE name = ? AND level = ? ORDER BY at DESC, id DESC", row.name, row.level
        )
        if before and before[0]["key"] == row.key:
            return
        store.insert("studies", [{"id": None, "at": now(), **vars(row)}])
        place = {"study": store.rows("SELECT max(id) AS id FROM studies")[0]["id"]}
        ids = {one["key"]: one["id"] for one in store.rows("SELECT key, id FROM analyses")}
        store.insert(
            "study_analyses",
            (
                {
                    "position": i,
                    "label": one.label,
                    "analysis": one.analysis and ids[one.analysis],
                    "reason": one.reason,
                }
                for i, one in enumerate(analyses)
            ),
            place,
        )
        store.insert("published", (vars(one) for one in published), place)
        store.insert("claims", ({**vars(one), "position": i} for i, one in enumerate(claims)), place)


@dataclass(frozen=True)
class _Place:
    id: int
    at: str


def performed(store: Store) -> list[Performed]:
    """Every study at every level, as it was performed last."""
    names = ", ".join(f"s.{field.name}" for field in fields(StudyRow))
    newest = (
        "FROM studies s WHERE s.id = "
        "(SELECT id FROM studies WHERE name = s.name AND level = s.level ORDER BY at DESC, id DESC LIMIT 1)"
    )
    order = "ORDER BY s.name, s.level, s.id"
    rows = store.read(StudyRow, f"SELECT {names} {newest} {order}")
    places = store.read(_Place, f"SELECT s.id, s.at {newest} {order}")
    return [
        Performed(
            row,
            place.at,
            place.id,
            store.read(
                StudyAnalysisRow,
                "SELECT c.label, a.key AS analysis, c.reason FROM study_analyses c LEFT JOIN analyses a "
                "ON a.id = c.analysis WHERE c.study = ? ORDER BY c.position",
                place.id,
            ),
            store.read(
                PublishedRow,
                f"SELECT {listed(PublishedRow)} FROM published WHERE study = ? ORDER BY place, position",
                place.id,
            ),
            store.read(ClaimRow, f"SELECT {listed(ClaimRow)} FROM claims WHERE study = ? ORDER BY position", place.id),
        )
        for row, place in zip(rows, places, strict=True)
    ]


def _of(kind: type[Any], table: str, order: str) -> str:
    return f"SELECT {listed(kind)} FROM {table} WHERE analysis = {_ANALYSIS} ORDER BY {order}"
