"""The marks that `advbench verify` leaves: when a cell was refereed again, and of which facts that is said."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advbench.store.database import now
from advbench.store.rows import by_column

if TYPE_CHECKING:
    from advbench.store.database import Store

_FACTORS = (73856093, 19349663, 83492791, 15485863, 32452843, 49979687, 67867967, 86028121)
_PRIMES = (2147483647, 2147483629)


def _checksum_sql(*columns: str) -> str:
    """SQL for one number of many rows, which differs wherever a value in one of them does, but by chance.

    SQLite has no digest of its own; ten million rows read out to take one would need half a minute, this needs 5 s.
    """
    terms = (f"coalesce({column}, -7) * {factor}" for column, factor in zip(columns, _FACTORS, strict=False))
    inner = f"(({' + '.join(terms)}) % {_PRIMES[0]})"
    return f"sum(({inner} + 12345) * {inner} % {_PRIMES[1]})"


def _whole(column: str) -> str:
    """A real number rounded to 1e-6, as an integer for the checksum."""
    return f"CAST({column} * 1e6 AS INTEGER) % 1000003"


_OUTCOMES = _checksum_sql(
    "o.example",
    "o.goal_label",
    "o.reached",
    "o.predicted",
    "length(o.violation)",
    _whole("o.size"),
    _whole("o.suspicion"),
    _whole("o.confidence"),
)
_CLEAN = _checksum_sql("c.example", "c.label", "c.predicted", _whole("c.suspicion"), _whole("c.confidence"))
_CERTIFICATES = _checksum_sql("p.example", "length(p.family)", "p.predicted", _whole("p.radius"))
_LATER = ("beyond_gradients", "content", "fit_fingerprint", "bank_fingerprint")
"""Columns of cells that the first marks did not know; a cell that is older than them has NULL there."""
_SILENT = ("ball", "precision")
"""Columns that were added after the first marks; left out of the checksum where they are NULL."""
_THESE = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class Mark:
    """What the newest verification of a cell says."""

    at: str
    sound: bool
    reason: str | None


@dataclass(frozen=True)
class _Kept:
    id: int
    key: str
    at: str
    sound: bool
    reason: str | None
    facts: Mapping[str, str]


@dataclass(frozen=True)
class _Shard:
    cell: int
    shard: int
    first: int
    count: int
    artifact: str


@dataclass(frozen=True)
class _Checksum:
    """A checksum of a target's examples: of which cell or which set it is, of how many rows, and the number itself."""

    of: Any
    target: str
    n: int
    checksum: int


def add(
    store: Store,
    cell: str,
    facts: Mapping[str, str],
    *,
    sound: bool,
    reason: str | None = None,
    versions: Mapping[str, Any] | None = None,
    hardware: Mapping[str, Any] | None = None,
) -> None:
    """Keep that the facts were refereed again; `facts` is what `facts_of` said before that began."""
    row = {"cell": store.id_of("cells", cell), "at": now(), "sound": int(sound), "facts": dict(facts)}
    store.insert("verifications", [{**row, "reason": reason, "versions": versions, "hardware": hardware}])


def marks(store: Store) -> dict[str, Mark]:
    """The newest mark of each cell by its key; one whose facts are no longer those that were verified is none."""
    rows = store.read(
        _Kept,
        """
        SELECT c.id, c.key, v.at, v.sound, v.reason, v.facts FROM verifications v JOIN cells c ON c.id = v.cell
        WHERE v.id = (SELECT max(id) FROM verifications WHERE cell = v.cell) ORDER BY c.key
        """,
    )
    today = facts_of(store, [row.id for row in rows])
    return {
        row.key: Mark(row.at, row.sound, row.reason)
        for row in rows
        if row.facts and row.facts.items() <= today.get(row.id, {}).items()
    }


def held(store: Store, cell: str) -> frozenset[str]:
    """The targets on which the cell's newest mark still holds."""
    rows = store.read(
        _Kept,
        "SELECT c.id, c.key, v.at, v.sound, v.reason, v.facts FROM verifications v JOIN cells c ON c.id = v.cell "
        "WHERE c.key = ? ORDER BY v.id DESC LIMIT 1",
        cell,
    )
    if not rows or not rows[0].sound:
        return frozenset()
    today = facts_of(store, [rows[0].id]).get(rows[0].id, {})
    return frozenset(target for target, checksum in rows[0].facts.items() if today.get(target) == checksum)


def facts_of(store: Store, cells: Collection[int]) -> dict[int, dict[str, str]]:
    """Checksums by a cell's number and its targets' keys, of everything that the cell's rates there are made from."""
    these = json.dumps(list(cells))
    targets, draws = _per_target(store), store.draws()
    answers = {
        (row.of, row.target): (row.n, row.checksum)
        for row in store.read(
            _Checksum,
            f"""
            SELECT e.fingerprint AS of, t.key AS target, count(*) AS n, {_CLEAN} AS checksum
            FROM example_sets e CROSS JOIN targets t JOIN clean c ON c.target = t.id AND c.example = e.example
            WHERE e.fingerprint IN (SELECT examples FROM cells WHERE id {_THESE}) GROUP BY e.fingerprint, t.id
            """,
            these,
        )
    }
    shards: dict[int, list[Any]] = defaultdict(list)
    question = f"SELECT cell, shard, first, count, artifact FROM shards WHERE cell {_THESE} ORDER BY cell, shard"
    for shard in store.read(_Shard, question, these):
        shards[shard.cell].append([shard.shard, shard.first, shard.count, shard.artifact])
    # of a cell's columns, whatever they are, none is looked at by itself
    cells_by_number = {row["id"]: row for row in store.rows(f"SELECT * FROM cells WHERE id {_THESE}", these)}
    checksums: dict[int, dict[str, str]] = defaultdict(dict)
    for row in store.read(
        _Checksum,
        f"""
        SELECT o.cell AS of, t.key AS target, count(*) AS n, {_OUTCOMES} AS checksum
        FROM outcomes o JOIN targets t ON t.id = o.target WHERE o.cell {_THESE} GROUP BY o.cell, o.target
        """,
        these,
    ):
        known = cells_by_number[row.of]
        unknown = {"id", *(name for name in _LATER if known["content"] is None and known[name] is None)}
        unknown |= {name for name in _SILENT if known[name] is None}
        cell = {name: value for name, value in known.items() if name not in unknown}
        clean = answers.get((cell["examples"], row.target))
        facts = [cell, shards[row.of], targets[row.target], clean, row.n, row.checksum]
        facts += [draws[cell["examples"]]] if cell["examples"] in draws else []  # a later table: silent where it is not
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        checksums[row.of][row.target] = digest[:16]
    return checksums


def _per_target(store: Store) -> dict[str, Any]:
    """What holds of a target whatever the cell: who it is, its threshold, and what it proves."""
    proved = {
        row.target: [row.n, row.checksum]
        for row in store.read(
            _Checksum,
            f"""
            SELECT NULL AS of, t.key AS target, count(*) AS n, {_CERTIFICATES} AS checksum
            FROM certificates p JOIN targets t ON t.id = p.target GROUP BY t.id
            """,
        )
    }
    return {row.key: [by_column(row), proved.get(row.key)] for row in store.targets()}
