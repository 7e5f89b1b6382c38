"""Rows that can't be what their columns say: why something could not be read, and how the rest is read without them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from advbench.errors import printable
from advbench.store.forms import DIGEST, document
from advbench.store.records import FORMS, UnreadableError, parsed, wrong

READING_FAILED = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RecursionError,
    RuntimeError,
    sqlite3.Error,
)
"""What code meets that was given something else than it expects."""

SMALL = {
    "runs": {"run_ends": "run", "plugins": "run", "skips": "run"},
    "datasets": {},
    "example_draws": {},
    "targets": {"cells": "source", "notes": "target", "certificates": "target"},
    "boards": {},
    "cells": {"cell_events": "cell", "shards": "cell", "imports": "cell", "verifications": "cell"},
    "run_ends": {},
    "plugins": {},
    "skips": {},
    "cell_events": {},
    "shards": {},
    "notes": {},
    "certificates": {},
    "imports": {},
    "verifications": {},
}
"""Tables that do not grow with what was judged, parents first, with those that say something of their rows."""


def fault(connection: sqlite3.Connection) -> str:
    """The first row that has not its form, or names one that is not there; empty where all is well.

    Everything is read, so this is asked when something could not be, to say why.
    """
    if (report := connection.execute("PRAGMA main.integrity_check(1)").fetchone()[0]) != "ok":
        return printable(" ".join(str(report).split()))[:160]
    for table in FORMS:
        for row in _rows(connection, table, "main"):
            if problem := _problem(table, row):
                return problem
    for table, _, parent, _ in connection.execute("PRAGMA main.foreign_key_check"):
        return f"{table}: a row names one of {parent} that is not there"
    for sentence, sql in _ORPHANS.items():
        if connection.execute(f"SELECT EXISTS ({sql})").fetchone()[0]:
            return sentence
    return ""


def set_aside(connection: sqlite3.Connection) -> list[str]:
    """Hide rows that can't be read from this connection, and say which; needs a transaction, and ends with it.

    Also what hangs on them: a cell of a target that can't be read has nobody to stand for. Large tables stay as they
    are: what is counted there in SQL is numbers, whatever they are.
    """
    problems = []
    hidden: set[str] = set()
    for table, children in SMALL.items():
        place = "temp" if table in hidden else "main"
        bad = []
        for row in _rows(connection, table, place):
            if problem := _problem(table, row):
                bad.append(row)
                problems.append(f"{_name(table, row)}: {problem}")
        if bad:
            _hide(connection, table, place, hidden)
            connection.executemany(f"DELETE FROM temp.{table} WHERE {_same(bad[0])}", [tuple(r.values()) for r in bad])
        for child, column in children.items():
            # `targets` are named by key in `cells`, by number elsewhere
            named = "key" if (table, child) == ("targets", "cells") else "id"
            gone = [row[named] for row in bad]
            if gone:
                _hide(connection, child, "temp" if child in hidden else "main", hidden)
                connection.executemany(f"DELETE FROM temp.{child} WHERE {column} = ?", [(one,) for one in gone])
        if table == "cells" and (table in hidden):
            for child, column in children.items():
                _hide(connection, child, "temp" if child in hidden else "main", hidden)
                connection.execute(f"DELETE FROM temp.{child} WHERE {column} NOT IN (SELECT id FROM temp.cells)")
    return problems


_ORPHANS = {
    "outcomes: a row names a cell or a target that is not there": (
        "SELECT 1 FROM outcomes WHERE cell NOT IN (SELECT id FROM cells) OR target NOT IN (SELECT id FROM targets)"
    ),
    "cells: a row names examples that are not listed": (
        "SELECT 1 FROM cells WHERE examples NOT IN (SELECT fingerprint FROM example_sets)"
    ),
    "boards: a row names examples that are not listed": (
        "SELECT 1 FROM boards WHERE examples NOT IN (SELECT fingerprint FROM example_sets)"
    ),
}
"""What no foreign key holds."""


def _rows(connection: sqlite3.Connection, table: str, place: str) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM {place}.{table}")
    columns = [column[0] for column in cursor.description]
    for values in cursor:
        yield dict(zip(columns, values, strict=True))


def _problem(table: str, row: Mapping[str, Any]) -> str:
    """What keeps a row from being read: any key will do, and older versions knew less; `merge` alone is stricter."""
    read = {}
    for name, value in row.items():
        try:
            read[name] = parsed(name, value)
        except UnreadableError as error:
            return str(error)
    forms = FORMS[table]
    values = {name: v for name, v in read.items() if v is not None and forms.get(name) is not DIGEST}
    if isinstance(values.get("params"), dict) and not document(values["params"]):
        del values["params"]
    return wrong(table, values)


def _name(table: str, row: Mapping[str, Any]) -> str:
    """The table and the keys by which a person finds a row."""
    words = [row[name] for name in ("key", "fingerprint", "id", "run", "cell", "target", "label") if name in row]
    return printable(f"{table} {' '.join(str(word)[:12] for word in words[:2])}")


def _same(row: Mapping[str, Any]) -> str:
    return " AND ".join(f"{name} IS ?" for name in row)


def _hide(connection: sqlite3.Connection, table: str, place: str, hidden: set[str]) -> None:
    """A copy of the table, which this connection sees in its place."""
    if place == "temp":
        return
    connection.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM main.{table}")
    columns = {row[1] for row in connection.execute(f"PRAGMA temp.table_info({table})")}
    for name in ("id", "key", "cell", "target", "run"):
        if name in columns:
            connection.execute(f"CREATE INDEX temp.{table}_{name}_of_copy ON {table} ({name})")
    hidden.add(table)
