"""A cell of another database joins this one: what is missing is added, what is there is compared, none replaced."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from advbench.errors import AdvbenchError
from advbench.store import parts, standing_views
from advbench.store.bulk import SOUND, Bulk, Copied
from advbench.store.conflicts import ConflictError, lacking, refuse_other_draw
from advbench.store.database import Row, Store, now
from advbench.store.incoming import RefusedError, harmless_rows, names, rows
from advbench.store.joined_tables import CRAFTED, CUT, OF_CELL, OF_RUN, TABLES, Table
from advbench.store.records import wrong
from advbench.store.rows import CellRow, listed, shard_size

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
    g.budget, g.precision, g.seed
)
ORDER BY CASE WHEN several THEN coalesce(newest, 0) END DESC NULLS FIRST, max(g.event) OVER rivals,
  g.ended = 'done' DESC, g.event DESC, g.id
"""
"""Cells in the order in which they were asked for; but of those that differ only in version the current one comes
first, so that it stays current. Where targets are of one lineage, cells of the one that stands come before those of
the others."""


@dataclass
class Joining:
    """Cells of one database into another; remembers which targets are known to be the same."""

    into: Store
    origin: Store
    source: str
    """What the other database is called."""
    settled: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Keys of which all is here, by kind."""
    runs: dict[str, str] = field(default_factory=dict)
    """What their runs are called here: otherwise where something else has the name."""

    @cached_property
    def bulk(self) -> Bulk:
        return Bulk(self.into, self.origin)

    @cached_property
    def cut(self) -> Sequence[parts.HeldPart]:
        """The parts of runs that the other database holds."""
        return [one for one in parts.held(self.origin) if one.parts > 1]

    def ended(self, cell: str) -> str | None:
        """How the cell ended there: `done`, `failed`, `in parts` where more of it is elsewhere, None where it hasn't.

        A part says nothing of how it ended with a cell, so that where all its shards are there no failure counts.
        """
        status = self.origin.cell_status(cell)
        if status == "done" or not self.cut:
            return status
        shards = self._layout(self.origin, cell)
        if not shards or (status == "failed" and not self._whole_in_parts(cell, shards)):
            return status
        return "in parts"

    def _whole_in_parts(self, cell: str, shards: Mapping[int, tuple[int, int]]) -> bool:
        number, (first, count) = next(iter(shards.items()))
        (row,) = rows(self.origin, "SELECT count, fit FROM cells WHERE key = ?", cell)
        size = max(1, shard_size(number, first, count))
        total = -(-int(row["count"]) // size)
        return all(
            total <= (len(shards) + 1) * one.parts  # what a stranger calls a part may have any number of shards
            and shards.keys() >= parts.shards_of(one.part, one.parts, cell, total, together=row["fit"] is not None)
            for one in self.cut
        )

    def is_there(self, cell: str) -> bool:
        """Whether all that is said of the cell is here; a conflict where something else is."""
        missing = self._missing(cell, counted=False)
        for kind, keys in self._keys(cell).items():
            if kind != "cell" and not any(missing[table.name] for table in TABLES if table.by == kind):
                self.settled[kind] |= set(keys)
        here, there = self.into.cell_status(cell), self.ended(cell)
        return not any(missing[table] for table in OF_CELL) and (here in ("done", there) or there == "in parts")

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
        A `bare` one leaves its perturbations and pictures behind."""
        into = self.into
        kept = not bare and self.ended(cell) in ("done", "in parts") and not self._cut_otherwise(cell)
        artifacts = self.take(cell) if kept else []
        with into.transaction():
            into.insert("artifacts", artifacts)
            missing = self._missing(cell)
            missing["exhibits"] = [] if bare else missing["exhibits"]
            done = into.cell_status(cell) == "done"
            for table in TABLES:
                self._insert(table, missing[table.name], cell)
            if not done:
                self._events(cell, bool(missing["cells"]))
            if any(missing[table] for table in OF_CELL):
                number = into.id_of("cells", cell)
                how = {"refereed": int(refereed), "crafted": int(crafted), "crafting": crafting}
                into.insert("imports", [{"cell": number, "at": now(), "source": self.source, **how}])
        return len(missing["outcomes"])

    def _insert(self, table: Table, missing: Sequence[Row] | Copied, cell: str) -> None:
        if isinstance(missing, Copied):
            self.bulk.insert(missing, cell if table.by == "cell" else None)
        else:
            self.into.insert(table.name, [self._with_numbers(table.name, row) for row in missing])

    def settle(self, cell: str) -> None:
        """After a cell has joined: its targets, runs and data need not be compared again."""
        for kind, keys in self._keys(cell).items():
            if kind != "cell":
                self.settled[kind] |= set(keys)

    def join_parts(self) -> int:
        """Once all cells have joined: which parts of runs came with them, or the whole of one that is here in parts.

        Returns how many were not known here.
        """
        with self.into.transaction():
            known = {one.whole for one in parts.held(self.into) if one.parts > 1}
            theirs = harmless_rows(self.origin, "SELECT run, parts, whole FROM parts")
            runs = names([row for row in theirs if row["parts"] > 1 or row["whole"] in known], "run")
            new = {table.name: list(self._additions(table, runs, self._new_name)) for table in OF_RUN}
            for table, added in new.items():
                self.into.insert(table, added)
        return len(new["parts"])

    def _missing(self, cell: str, *, counted: bool = True) -> dict[str, Sequence[Row] | Copied]:
        """What is not here, by table. Unless it is `counted`, of shards that are new here only that there are some."""
        keys = self._keys(cell)
        refuse_other_draw(self.into, self.origin, *keys["examples"])
        missing: dict[str, Sequence[Row] | Copied] = {}
        silent = frozenset() if self.ended(cell) in ("done", "in parts") else CRAFTED
        cut_otherwise = self._cut_otherwise(cell)
        for table in TABLES:
            if table.name in silent:
                missing[table.name] = []
                continue
            if cut_otherwise and table.name in CUT:
                missing[table.name] = []
                continue
            wanted = [key for key in keys[table.by] if key not in self.settled[table.by]]
            new = not cut_otherwise and table.by == "cell" and self._all_new(cell)
            missing[table.name] = self._lacking(table, wanted, new, counted)
            if cut_otherwise and table.name == "outcomes" and missing[table.name]:
                count = len(missing[table.name])
                raise ConflictError(
                    f"it is cut into other shards here, and {count:,} of its outcomes are not here; "
                    "`advbench run` judges on the targets that this database lacks"
                )
        return missing

    def _lacking(self, table: Table, keys: list[str], new: bool, counted: bool) -> Sequence[Row] | Copied:
        copied = None
        if table.name in SOUND and table.by == "targets":
            copied = self.bulk.of_targets(table.name, keys)
        elif table.name in SOUND and new and not counted:
            if not self.bulk.doubtful(table.name, [self.origin.id_of("cells", *keys)]):
                return [{}]
        elif table.name in SOUND:
            copied = self.bulk.of_cell(table.name, *keys, new=new)
        return list(self._additions(table, keys, self._new_name)) if copied is None else copied

    def _all_new(self, cell: str) -> bool:
        """Whether something of the cell was judged there, and nothing of that here."""
        theirs = self.origin.judged(cell)
        return bool(theirs) and theirs.isdisjoint(self.into.judged(cell))

    def _cut_otherwise(self, cell: str) -> bool:
        """Whether the examples are grouped otherwise here: no fact about an example depends on it, so that where the
        outcomes agree nothing is missing. New ones would have no shard to stand in."""
        ours, theirs = self._layout(self.into, cell), self._layout(self.origin, cell)
        if any(ours[shard] != theirs[shard] for shard in ours.keys() & theirs.keys()):
            return True
        sizes = {shard_size(shard, *place) for shards in (ours, theirs) for shard, place in shards.items()}
        return bool(ours) and len(sizes) > 1

    def _layout(self, store: Store, cell: str) -> dict[int, tuple[int, int]]:
        """The first example and the number of examples of each shard."""
        sql = "SELECT s.shard, s.first, s.count FROM shards s JOIN cells c ON c.id = s.cell WHERE c.key = ?"
        return {row["shard"]: (row["first"], row["count"]) for row in rows(store, sql, cell)}

    def _additions(self, table: Table, keys: list[str], renamed: Callable[[str], str]) -> Iterable[Row]:
        """Their rows of these keys that are not here, under the names that runs have here."""
        theirs = _well_formed(table.name, harmless_rows(self.origin, table.sql, json.dumps(keys)))
        theirs = [_of_run(table.name, row, renamed) for row in theirs]
        here = json.dumps([renamed(key) for key in keys] if table in OF_RUN else keys)
        ours = {tuple(row[name] for name in table.identity): row for row in rows(self.into, table.sql, here)}
        return lacking(table, theirs, ours)

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
            for table in OF_RUN:
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
        if self.ended(cell) == "in parts":
            events = self._whole_now(cell)
        events = [{**event, "cell": number} for event in events]
        if events:
            events += [*rivals, *(events[-1] if event["cell"] == number else event for event in order)]
            self.into.insert("cell_events", [{**event, "id": None} for event in events])

    def _whole_now(self, cell: str) -> list[dict[str, Any]]:
        """That a cell is done, where its last part has come: said by the run that crafted its last shard."""
        (whole,) = rows(
            self.into,
            """
            SELECT c.count, sum(s.count) AS there, sum(s.seconds) AS seconds, sum(j.shard IS NOT NULL) AS judged,
              count(*) AS shards, group_concat(s.first) AS firsts, max(s.count) AS size,
              (SELECT run FROM shards WHERE cell = c.id ORDER BY shard DESC LIMIT 1) AS run
            FROM cells c JOIN targets t ON t.key = c.source JOIN shards s ON s.cell = c.id
            LEFT JOIN judgements j ON j.cell = c.id AND j.target = t.id AND j.shard = s.shard
            WHERE c.key = ? GROUP BY c.id
            """,
            cell,
        )
        firsts = sorted(map(int, str(whole["firsts"]).split(",")))
        due = list(range(0, whole["count"], whole["size"] or whole["count"]))
        if firsts != due or whole["there"] != whole["count"] or whole["judged"] < whole["shards"]:
            return []
        return [{"run": whole["run"], "at": now(), "status": "done", "reason": None, "seconds": whole["seconds"]}]

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
