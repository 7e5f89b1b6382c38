"""The large tables of another database, copied as they are where every row has its form and none is known otherwise.

What SQL can't tell to be harmless is left to whoever looks at rows one by one and says what is wrong with which.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from advbench.store.connection import in_words
from advbench.store.incoming import RefusedError

if TYPE_CHECKING:
    from advbench.store.database import Store


def _whole(column: str, least: int = -(2**63), most: int = 2**63 - 1) -> str:
    return f"(typeof({column}) = 'integer' AND {column} BETWEEN {least} AND {most})"


def _real(column: str, least: str = "-9e999", most: str = "9e999") -> str:
    return f"(typeof({column}) = 'real' AND {column} BETWEEN {least} AND {most})"


def _text(column: str, most: int) -> str:
    """Of printable ASCII; a zero byte would end it for GLOB."""
    length = f"length({column}) BETWEEN 1 AND {most} AND length(CAST({column} AS BLOB)) = length({column})"
    return f"(typeof({column}) = 'text' AND {length} AND {column} NOT GLOB '*[^ -~]*')"


def _maybe(column: str, form: str) -> str:
    return f"({column} IS NULL OR {form})"


_CLASS, _ANSWER = (0, 10**6), (-1, 10**6)

SOUND = {
    "outcomes": {
        "example": _whole("example"),
        "goal_label": _maybe("goal_label", _whole("goal_label", *_CLASS)),
        "reached": _whole("reached", 0, 1),
        "predicted": _whole("predicted", *_ANSWER),
        "confidence": _maybe("confidence", _real("confidence", "0", "1.001")),
        "suspicion": _maybe("suspicion", _real("suspicion")),
        "size": _maybe("size", _real("size", "0")),
        "violation": _maybe("violation", _text("violation", 200)),
        "excess": _maybe("excess", _real("excess")),
        "tolerance": _maybe("tolerance", _real("tolerance", "0")),
    },
    "judgements": {"shard": _whole("shard", 0, 10**9)},
    "clean": {
        "example": _whole("example"),
        "label": _whole("label", *_CLASS),
        "predicted": _whole("predicted", *_ANSWER),
        "confidence": _maybe("confidence", _real("confidence", "0", "1.001")),
        "suspicion": _maybe("suspicion", _real("suspicion")),
    },
    "certificates": {
        "example": _whole("example"),
        "family": _text("family", 2000),
        "predicted": _whole("predicted", *_ANSWER),
        "radius": _real("radius", "0"),
    },
}
"""By table and column, SQL for values that need no closer look: never more than `store.records` lets pass, a test
says."""

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Copied:
    """Rows that are not here yet, by the key of their target."""

    table: str
    of: dict[str, list[Values]]

    def __len__(self) -> int:
        return sum(map(len, self.of.values()))


@dataclass
class Bulk:
    """Reads and writes the large tables of two databases; those of a cell by its number, the others by their target."""

    into: Store
    origin: Store
    _doubtful: dict[str, frozenset[int]] = field(default_factory=dict)
    _targets: dict[int, str] = field(default_factory=dict)

    def doubtful(self, table: str, numbers: Iterable[int]) -> bool:
        """Whether a row of these cells or targets needs a closer look."""
        if table not in self._doubtful:
            owner = "cell" if table in ("outcomes", "judgements") else "target"
            sound = " AND ".join(SOUND[table].values())
            sql = f"SELECT DISTINCT {owner} FROM {table} WHERE NOT ({sound})"
            self._doubtful[table] = frozenset(row[0] for row in self._ask(self.origin, sql))
        return not self._doubtful[table].isdisjoint(numbers)

    def of_cell(self, table: str, cell: str, *, new: bool) -> Copied | None:
        """What the cell has there and not here; None where rows must be looked at one by one.

        `new` where none of its shards there is here, so that nothing has to be compared.
        """
        theirs, ours = self._number(self.origin, "cells", cell), self._number(self.into, "cells", cell)
        if theirs is None or self.doubtful(table, [theirs]):
            return None
        columns = ", ".join(SOUND[table])
        sql = f"SELECT target, {columns} FROM {table} WHERE cell = ? ORDER BY target, {next(iter(SOUND[table]))}"
        found: dict[str, list[Values]] = {}
        for number, rows in groupby(self._ask(self.origin, sql, theirs), itemgetter(0)):
            key = self._key(number)
            if key is None:
                return None
            target = None if ours is None or new else self._number(self.into, "targets", key)
            here = f"SELECT {columns} FROM {table} WHERE cell = ? AND target = ?"
            known = [] if target is None else self._ask(self.into, here, ours, target)
            lacking = _new([row[1:] for row in rows], known)
            if lacking is None:
                return None
            found[key] = lacking
        return Copied(table, found)

    def of_targets(self, table: str, targets: Iterable[str]) -> Copied | None:
        """What these targets have there and not here; None where rows must be looked at one by one."""
        columns = ", ".join(SOUND[table])
        sql = f"SELECT {columns} FROM {table} WHERE target = ?"
        found: dict[str, list[Values]] = {}
        for key in targets:
            theirs, ours = self._number(self.origin, "targets", key), self._number(self.into, "targets", key)
            if theirs is None or self.doubtful(table, [theirs]):
                return None
            known = [] if ours is None else self._ask(self.into, sql, ours)
            new = _new(self._ask(self.origin, sql, theirs), known, 2 if table == "certificates" else 1)
            if new is None:
                return None
            found[key] = new
        return Copied(table, found)

    def insert(self, copied: Copied, cell: str | None = None) -> None:
        """Rows of a cell or of targets that are here by now."""
        place = [] if cell is None else [self.into.id_of("cells", cell)]
        columns = ["cell"] * len(place) + ["target", *SOUND[copied.table]]
        sql = f"INSERT INTO {copied.table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        with self.into.transaction():
            for target, rows in copied.of.items():
                if rows:
                    numbers = (*place, self.into.id_of("targets", target))
                    try:
                        self.into.connection.executemany(sql, [numbers + row for row in rows])
                    except sqlite3.IntegrityError as error:
                        raise RefusedError(
                            f"{copied.table}: what it says of some examples belongs to others"
                        ) from error

    def _key(self, target: int) -> str | None:
        if not self._targets:
            self._targets |= dict(self._ask(self.origin, "SELECT id, key FROM targets"))
        return self._targets.get(target)

    def _number(self, store: Store, table: str, key: str) -> int | None:
        found = self._ask(store, f"SELECT id FROM {table} WHERE key = ?", key)
        return int(found[0][0]) if found else None

    def _ask(self, store: Store, sql: str, *values: Any) -> list[Values]:
        with in_words(store.path):
            cursor = store.connection.execute(sql, values)
            cursor.row_factory = None  # plain tuples, which compare and copy fast
            return cursor.fetchall()


def _new(theirs: list[Values], ours: list[Values], identity: int = 1) -> list[Values] | None:
    """Their rows that are not here; None where one of those that are is not the same to the bit."""
    if not ours:
        return theirs
    known = set(ours)
    new = [row for row in theirs if row not in known]
    names: Callable[[Values], Any] = itemgetter(slice(identity))
    taken = set(map(names, ours)) if new else set()
    return None if any(names(row) in taken for row in new) else new
