"""A database that somebody else wrote, opened for `advbench merge`: read, held against our schema, and never obeyed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advbench.errors import AdvbenchError, MalformedError, printable
from advbench.protocol import PROTOCOL
from advbench.store.artifacts import Artifacts
from advbench.store.connection import closed_by_failure, configured, connect_memory, in_words, located, open_readonly
from advbench.store.database import Store, decoded
from advbench.store.migrations import SCHEMA_VERSION, version_of
from advbench.store.scrutiny import refuse_damage, refuse_foreign_parts, refuse_strangers

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_FILE = 32 << 30
"""Bytes of a database."""
LARGEST_VALUE = 16 << 20
"""Bytes of one value in it."""
LONGEST_TEXT = 20_000
"""Characters of a name or a reason; settings in JSON may be longer."""
DEEPEST = 20


def open_incoming(path: Path) -> Store:
    """The stranger's store, only to be read; refused unless it is one of today's schema and of our protocol."""
    path = located(path)
    if not path.is_file():
        raise AdvbenchError(f"{path}: no such database")
    if path.stat().st_size > LARGEST_FILE:
        raise AdvbenchError(f"{path}: larger than {LARGEST_FILE >> 30} GiB; too large to be merged")
    with in_words(path):
        connection = open_readonly(path)
        with closed_by_failure(connection):
            configured(connection)
            _refuse(connection, path)
    return Store(connection, path, Artifacts(path.with_suffix(".artifacts")))


def _refuse(connection: sqlite3.Connection, path: Path) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    refuse_strangers(connection, path)
    version = version_of(connection)
    if version == 0:
        raise AdvbenchError(f"{path} is empty; there is nothing to merge")
    refuse_foreign_parts(connection, path)
    refuse_damage(connection, path)
    if version < SCHEMA_VERSION:
        _refuse_other_protocols(connection, path)  # no schema of today would help it
        raise AdvbenchError(
            f"{path}: written by an older advbench (schema {version}, not {SCHEMA_VERSION}); "
            "`advbench verify` with this version brings it up to date"
        )
    with closing(connect_memory()) as ours:
        known = _schema(ours)
    if _schema(connection) != known:
        raise AdvbenchError(f"{path}: its tables are not those that advbench makes; merge a database of `advbench run`")
    _refuse_other_protocols(connection, path)


def _refuse_other_protocols(connection: sqlite3.Connection, path: Path) -> None:
    """Cells of another protocol can't be crafted again here, so nobody could tell a weak one from what it is called."""
    for table in ("cells", "boards"):
        for (protocol,) in connection.execute(f"SELECT DISTINCT protocol FROM {table}"):
            if protocol != PROTOCOL:
                raise AdvbenchError(
                    f"{path}: judged by protocol {printable(str(protocol))[:20]}, this advbench judges by {PROTOCOL}; "
                    "results of different protocols never meet: run its suite again with this version"
                )


def _schema(connection: sqlite3.Connection) -> set[tuple[Any, ...]]:
    """Tables and indices: what is read. Views are not, and no trigger hears of reading."""
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type IN ('table', 'index')"
    parts = connection.execute(sql)
    return {tuple(row) for row in parts if not str(row[1]).startswith("sqlite_stat")}


class RefusedError(AdvbenchError):
    """What a stranger wrote can't be taken."""


def rows(store: Store, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a query; of columns with one name the last one counts, so that `t.key AS target` replaces a number."""
    with in_words(store.path):
        cursor = store.connection.execute(sql, values)
        columns = [column[0] for column in cursor.description]
        return [decoded(dict(zip(columns, row, strict=True))) for row in cursor]


def harmless_rows(store: Store, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a stranger's database, without what would steer a terminal."""
    try:
        theirs = rows(store, sql, *values)
    except MalformedError as error:
        raise RefusedError(f"its facts can't be read ({error.__cause__})") from error
    return [{name: _harmless(value, name) for name, value in row.items()} for row in theirs]


def _harmless(value: Any, name: str, depth: int = 0) -> Any:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise RefusedError(f"{name}: {len(value)} characters are too many")
        return printable(value)
    if depth > DEEPEST:
        raise RefusedError(f"{name}: nested too deep")
    if isinstance(value, dict):
        return {printable(str(key)): _harmless(inner, name, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_harmless(inner, name, depth + 1) for inner in value]
    return value


def names(theirs: Sequence[dict[str, Any]], column: str) -> list[str]:
    return sorted({str(row[column]) for row in theirs if row[column] is not None})
