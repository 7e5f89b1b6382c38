"""A cell of another database joins this one: what is missing is added, what is there is compared, none replaced."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from advbench.errors import AdvbenchError
from advbench.store import standing_views
from advbench.store.database import Row, Store, now
from advbench.store.incoming import RefusedError, harmless_rows, names, rows
from advbench.store.records import wrong
from advbench.store.rows import CellRow, listed

NEAR = 5e-3
"""How far real numbers of the same fact lie apart when two machines wrote them."""

IN_ORDER = f"""
WITH lineage AS MATERIALIZED ({standing_views.LINEAGES.strip()}),
asked AS (
  SELECT c.*, coalesce(l.lineage, c.source) AS lineage, e.id AS event, e.status AS ended
  FROM cells c LEFT JOIN lineage l ON l.target = c.source
  LEFT JOIN cell_events e ON e.id = (SELECT max(id) FROM cell_events WHERE cell = c.id)
), grouped AS (
  SELECT *, min(source) OVER alike <> max(source) OVER alike AS several, max(event) OVER own AS newest
  FROM asked
  WINDOW alike AS (PARTITION BY lineage, data_fingerprint, examples, protocol, family),
    own AS (PARTITION BY source, data_fingerprint, examples, protocol, family, eps, seed)
)
SELECT {listed(CellRow, "c")} FROM grouped g JOIN cells c ON c.id = g.id
WINDOW rivals AS (
  PARTITION BY g.data_fingerprint, g.examples, g.protocol, g.family, g.eps, g.source, g.attack, g.goal, g.fit, g.stop,
    g.budget, g.seed
)
ORDER BY CASE WHEN several THEN coalesce(newest, 0) END DESC NULLS FIRST, max(g.event) OVER rivals,
  g.ended = 'done' DESC, g.event DESC, g.id
"""
"""Cells in the order in which they were asked for; but of those that differ only in version the current one comes
first, so that it stays current. Where targets are of one lineage, cells of the one that stands come before those of
the others."""

_TARGETS = "SELECT value FROM json_each(?)"


class ConflictError(AdvbenchError):
    """Two databases say different things of what has the same key."""


@dataclass(frozen=True)
class Table:
    """Facts with content keys in the place of numbers; `?` is a list of the values that `by` names."""

    name: str
    sql: str
    by: str
    identity: tuple[str, ...]
    apart: frozenset[str] = frozenset()
    """Columns that may differ: clocks, machines, paths, and versions that no key takes in."""


TABLES = (
    Table("runs", f"SELECT * FROM runs WHERE id IN ({_TARGETS})", "runs", ("id",)),
    Table("run_ends", f"SELECT * FROM run_ends WHERE run IN ({_TARGETS})", "runs", ("run",)),
    Table("plugins", f"SELECT * FROM plugins WHERE run IN ({_TARGETS})", "runs", ("run", "kind", "label")),
    Table(
        "skips",
        f"SELECT * FROM skips WHERE run IN ({_TARGETS})",
        "runs",
        ("run", "dataset", "model", "defenses", "attack", "threat", "goal"),
    ),
    Table(
        "datasets",
        f"SELECT * FROM datasets WHERE fingerprint IN ({_TARGETS})",
        "data",
        ("fingerprint",),
        frozenset({"source", "partial", "train_fingerprint", "calibrate_fingerprint"}),
    ),
    Table(
        "example_sets",
        f"SELECT * FROM example_sets WHERE fingerprint IN ({_TARGETS})",
        "examples",
        ("fingerprint", "position"),
    ),
    Table(
        "targets", f"SELECT * FROM targets WHERE key IN ({_TARGETS})", "targets", ("key",), frozenset({"id", "origins"})
    ),
    Table(
        "clean",
        f"SELECT c.*, t.key AS target FROM clean c JOIN targets t ON t.id = c.target WHERE t.key IN ({_TARGETS})",
        "targets",
        ("target", "example"),
    ),
    Table(
        "certificates",
        "SELECT p.*, t.key AS target FROM certificates p JOIN targets t ON t.id = p.target "
        f"WHERE t.key IN ({_TARGETS})",
        "targets",
        ("target", "example", "family"),
    ),
    Table(
        "cells", f"SELECT * FROM cells WHERE key IN ({_TARGETS})", "cell", ("key",), frozenset({"id", "origin", "ball"})
    ),
    Table(
        "shards",
        f"SELECT s.*, c.key AS cell FROM shards s JOIN cells c ON c.id = s.cell WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "shard"),
        frozenset({"run", "batch", "seconds", "forwards", "backwards"}),
    ),
    Table(
        "judgements",
        "SELECT c.key AS cell, t.key AS target, j.shard FROM judgements j "
        f"JOIN cells c ON c.id = j.cell JOIN targets t ON t.id = j.target WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "target", "shard"),
    ),
    Table(
        "outcomes",
        "SELECT o.*, c.key AS cell, t.key AS target FROM outcomes o "
        f"JOIN cells c ON c.id = o.cell JOIN targets t ON t.id = o.target WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "target", "example"),
        frozenset({"tolerance", "excess"}),
    ),
    Table(
        "exhibits",
        f"SELECT e.*, c.key AS cell FROM exhibits e JOIN cells c ON c.id = e.cell WHERE c.key IN ({_TARGETS})",
        "cell",
        ("cell", "example"),
        frozenset({"original", "perturbed", "redrawn", "moved"}),
    ),
)
"""The tables that are joined, in an order in which each needs only those before it."""

_OF_RUN = tuple(table for table in TABLES if table.by == "runs")
_OF_CELL = frozenset({"cells", "shards", "judgements", "outcomes"})
_CRAFTED = frozenset({"shards", "judgements", "outcomes", "exhibits"})
"""Tables whose rows of a failed cell stay behind: the owner's run would go on with what nobody crafts again."""

_CUT = frozenset({"shards", "judgements"})
"""Tables that say how a cell's examples were grouped when they were crafted."""


@dataclass
class Joining:
    """Cells of one database into another; remembers which targets are known to be the same."""

    into: Store
    origin: Store
    source: str
    """What the other database is called."""
    settled: set[str] = field(default_factory=set)
    runs: dict[str, str] = field(default_factory=dict)
    """What their runs are called here: otherwise where something else has the name."""

    def is_there(self, cell: str) -> bool:
        """Whether all that is said of the cell is here; a conflict where something else is."""
        missing = self._missing(cell)
        here, there = self.into.cell_status(cell), self.origin.cell_status(cell)
        return not any(missing[table] for table in _OF_CELL) and (here == "done" or here == there)

    def take(self, cell: str) -> list[Row]:
        """Copies its perturbations, and says how they are listed. They are in place before a row names them."""
        shards = harmless_rows(
            self.origin,
            "SELECT DISTINCT s.artifact FROM shards s JOIN cells c ON c.id = s.cell "
            "WHERE c.key = ? AND s.artifact IS NOT NULL ORDER BY s.artifact",
            cell,
        )
        listed: list[Row] = []
        for sha in (row["artifact"] for row in shards):
            try:
                data = self.origin.artifacts.read(sha)
            except AdvbenchError as error:
                raise RefusedError(str(error)) from error
            self.into.artifacts.keep(sha, data)
            listed.append({"sha256": sha, "bytes": len(data), "kind": "perturbations"})
        return listed

    def join(
        self, cell: str, *, refereed: bool, crafted: bool = False, crafting: str | None = None, bare: bool = False
    ) -> int:
        """Everything of the cell that is not here yet, in one transaction; how many outcomes were new.

        How it was held against what is here is kept with it: refereed, crafted again, and what came of that in words.
        A `bare` one leaves its perturbations and pictures behind.
        """
        into = self.into
        kept = self.origin.cell_status(cell) == "done" and not bare and not self._cut_otherwise(cell)
        artifacts = self.take(cell) if kept else []
        with into.transaction():
            into.insert("artifacts", artifacts)
            missing = self._missing(cell)
            missing["exhibits"] = [] if bare else missing["exhibits"]
            done = into.cell_status(cell) == "done"
            for table in TABLES:
                into.insert(table.name, [self._with_numbers(table.name, row) for row in missing[table.name]])
            if not done:
                self._events(cell, bool(missing["cells"]))
            if any(missing[table] for table in _OF_CELL):
                number = into.id_of("cells", cell)
                how = {"refereed": int(refereed), "crafted": int(crafted), "crafting": crafting}
                into.insert("imports", [{"cell": number, "at": now(), "source": self.source, **how}])
        return len(missing["outcomes"])

    def settle(self, cell: str) -> None:
        """After a cell has joined: its targets need not be compared again."""
        self.settled |= set(self._keys(cell)["targets"])

    def _missing(self, cell: str) -> dict[str, list[Row]]:
        keys = self._keys(cell)
        missing: dict[str, list[Row]] = {}
        silent = frozenset() if self.origin.cell_status(cell) == "done" else _CRAFTED
        cut_otherwise = self._cut_otherwise(cell)
        for table in TABLES:
            if table.name in silent:
                missing[table.name] = []
                continue
            if cut_otherwise and table.name in _CUT:
                missing[table.name] = []
                continue
            wanted = [key for key in keys[table.by] if key not in self.settled]
            missing[table.name] = list(self._additions(table, wanted, self._new_name))
            if cut_otherwise and table.name == "outcomes" and missing[table.name]:
                count = len(missing[table.name])
                raise ConflictError(
                    f"it is cut into other shards here, and {count:,} of its outcomes are not here; "
                    "`advbench run` judges on the targets that this database lacks"
                )
        return missing

    def _cut_otherwise(self, cell: str) -> bool:
        """Whether the examples are grouped otherwise here: no fact about an example depends on it, so that where the
        outcomes agree nothing is missing. New ones would have no shard to stand in."""
        sql = "SELECT s.shard, s.first, s.count FROM shards s JOIN cells c ON c.id = s.cell WHERE c.key = ?"
        ours, theirs = (
            {row["shard"]: (row["first"], row["count"]) for row in shards}
            for shards in (rows(self.into, sql, cell), harmless_rows(self.origin, sql, cell))
        )
        return any(ours[shard] != theirs[shard] for shard in ours.keys() & theirs.keys())

    def _additions(self, table: Table, keys: list[str], renamed: Callable[[str], str]) -> Iterable[Row]:
        """Their rows of these keys that are not here, under the names that runs have here."""
        theirs = _well_formed(table.name, harmless_rows(self.origin, table.sql, json.dumps(keys)))
        theirs = [_of_run(table.name, row, renamed) for row in theirs]
        here = json.dumps([renamed(key) for key in keys] if table in _OF_RUN else keys)
        ours = {tuple(row[name] for name in table.identity): row for row in rows(self.into, table.sql, here)}
        return _new(table, theirs, ours)

    def _new_name(self, run: str) -> str:
        """A number is nobody's: who hands in a run under that of another entry does not keep that one out."""
        if run not in self.runs:
            facts = harmless_rows(self.origin, "SELECT * FROM runs WHERE id = ?", run)
            name = run
            while not self._fits(run, name):
                name = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([name, facts], sort_keys=True)))
            self.runs[run] = name
        return self.runs[run]

    def _fits(self, run: str, name: str) -> bool:
        """Whether all that is said of their run can stand under this name."""
        try:
            for table in _OF_RUN:
                list(self._additions(table, [run], lambda _: name))
        except ConflictError:
            return False
        return True

    def _keys(self, cell: str) -> dict[str, list[str]]:
        (row,) = harmless_rows(self.origin, "SELECT * FROM cells WHERE key = ?", cell)
        judged = harmless_rows(
            self.origin,
            "SELECT DISTINCT t.key FROM judgements j JOIN cells c ON c.id = j.cell JOIN targets t ON t.id = j.target "
            "WHERE c.key = ?",
            cell,
        )
        runs = harmless_rows(
            self.origin,
            "SELECT run FROM cell_events e JOIN cells c ON c.id = e.cell WHERE c.key = ? "
            "UNION SELECT run FROM shards s JOIN cells c ON c.id = s.cell WHERE c.key = ?",
            cell,
            cell,
        )
        return {
            "cell": [cell],
            "data": [row["data_fingerprint"]],
            "examples": [row["examples"]],
            "targets": sorted({row["source"], *names(judged, "key")}),
            "runs": names(runs, "run"),
        }

    def _with_numbers(self, table: str, row: Row) -> Row:
        """The row with the numbers that cells and targets have in the database that it joins."""
        values = {name: value for name, value in row.items() if not (name == "id" and table in ("targets", "cells"))}
        if "cell" in values:
            values["cell"] = self.into.id_of("cells", values["cell"])
        if "target" in values:
            values["target"] = self.into.id_of("targets", values["target"])
        return values

    def _events(self, cell: str, new: bool) -> None:
        """How it ended. Of cells that differ only in version, and of targets of one lineage, the one that stands on a
        board goes on to."""
        number = self.into.id_of("cells", cell)
        rivals, order = self._standing(number), self._order(number)
        sql = "SELECT e.* FROM cell_events e JOIN cells c ON c.id = e.cell WHERE c.key = ? ORDER BY e.id"
        events = _well_formed("cell_events", harmless_rows(self.origin, sql, cell))
        events = [_of_run("cell_events", event, self._new_name) for event in events]
        events = events if new else [event for event in events[-1:] if event["status"] == "done"]
        events = [{**event, "cell": number} for event in events]
        if events:
            events += [*rivals, *(events[-1] if event["cell"] == number else event for event in order)]
            self.into.insert("cell_events", [{**event, "id": None} for event in events])

    def _standing(self, number: int) -> list[dict[str, Any]]:
        """The event of the cell that the newcomer would push off its boards."""
        return self.into.rows(
            """
            SELECT e.* FROM cells c
            JOIN cells n USING (data_fingerprint, examples, protocol, family, source)
            JOIN cell_state s ON s.cell = c.id JOIN cell_state m ON m.cell = n.id AND m.entrant = s.entrant
            JOIN cell_events e ON e.cell = c.id AND e.status = 'done'
            WHERE n.id = ? AND c.id <> n.id AND c.eps IS n.eps AND (c.protocol < 2 OR c.seed IS n.seed) AND s.current
              AND e.id = (SELECT max(id) FROM cell_events WHERE cell = c.id AND status = 'done')
            """,
            number,
        )

    def _order(self, number: int) -> list[dict[str, Any]]:
        """The last event of each target of the newcomer's lineage in each ball of the family, in their order: said
        again behind the newcomer's own, they keep it. A cell without a radius stands on boards of every radius, so that
        the order of none can be kept alone. Nothing where no other target is of the lineage."""
        events = self.into.rows(
            """
            SELECT e.*, g.other FROM (
              SELECT c.source <> n.source AS other, max(e.id) AS event FROM cells n
              JOIN lineages m ON m.target = n.source JOIN lineages l ON l.lineage = m.lineage
              JOIN cells c ON c.source = l.target AND c.data_fingerprint = n.data_fingerprint
                AND c.examples = n.examples AND c.protocol = n.protocol AND c.family = n.family
              JOIN cell_events e ON e.id = (SELECT max(id) FROM cell_events WHERE cell = c.id)
              WHERE n.id = ? GROUP BY c.source, c.eps, c.seed
            ) g JOIN cell_events e ON e.id = g.event ORDER BY e.id
            """,
            number,
        )
        others = [row.pop("other") for row in events]
        return events if any(others) else []


def _of_run(table: str, row: dict[str, Any], renamed: Callable[[str], str]) -> dict[str, Any]:
    """The row with the name that its run has here."""
    column = "id" if table == "runs" else "run"
    return row if row.get(column) is None else {**row, column: renamed(row[column])}


def _well_formed(table: str, theirs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, refused where one can't be read as what it should be: it would stop every later page."""
    for row in theirs:
        if problem := wrong(table, row):
            raise RefusedError(problem)
    return theirs


def _new(table: Table, theirs: Iterable[Row], ours: Mapping[tuple[Any, ...], Row]) -> Iterable[Row]:
    """Their rows that are not here; one that says something else than ours is a conflict."""
    for row in theirs:
        known = ours.get(tuple(row[name] for name in table.identity))
        if known is None:
            yield row
            continue
        for name, value in row.items():
            if name not in table.apart and not _same(value, known[name]):
                place = " ".join(str(row[name])[:12] for name in table.identity)
                raise ConflictError(
                    f"{table.name} {place}: {name} is {_brief(known[name])} here, {_brief(value)} there"
                )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isfinite(one) and math.isfinite(other):
        return abs(one - other) <= NEAR * max(1.0, abs(one))
    return bool(one == other)


def _brief(value: Any) -> str:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
