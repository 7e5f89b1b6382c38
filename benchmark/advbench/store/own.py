"""Databases of one's own, joined as they are: nothing is refereed, findings of studies come along.

For what `advbench merge` is too careful for: the parts of one reference run, all from the same hands. What somebody
else has written goes through `merge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from advbench.errors import AdvbenchError
from advbench.store.connection import in_words, located
from advbench.store.migrations import SCHEMA_VERSION
from advbench.store.records import FORMS

if TYPE_CHECKING:
    from advbench.store.database import Store

KEYED = ("targets", "cells", "analyses")
"""Tables whose rows are known by a key, and elsewhere named by a number that is an accident."""
NUMBERED = {"target": "targets", "cell": "cells", "analysis": "analyses", "study": "studies"}
"""Columns that hold such a number."""
COUNTED = {"cell_events": "cell", "verifications": "cell", "imports": "cell"}
"""Tables whose rows have a number of their own and no key: those of what is new here come along."""
OWNERS = ("study", "analysis")
"""Columns whose thing brings its rows along when it is new here, and none when it is known: what two machines found
under one key may differ in its last digits, and would be mixed."""


def join_own(into: Store, origin: Path) -> None:
    """Take everything in that the other database knows and this one does not, in one transaction."""
    origin = located(origin)
    if not origin.is_file():
        raise AdvbenchError(f"{origin}: no such database")
    with in_words(into.path), _attached(into, origin):
        (version,) = into.connection.execute("PRAGMA other.user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise AdvbenchError(
                f"{origin}: its schema is {version}, not {SCHEMA_VERSION}; open it with `advbench show`"
            )
        with into.transaction():
            for table in FORMS:
                _take(into, table)
            _take_ends(into)


@contextmanager
def _attached(into: Store, origin: Path) -> Iterator[None]:
    """The other database under the name `other`; tables that map its numbers to ours are gone afterwards."""
    connection = into.connection
    connection.execute("ATTACH ? AS other", (str(origin),))
    try:
        for table in (*KEYED, "studies"):
            connection.execute(f"CREATE TEMP TABLE new_{table} (old INTEGER PRIMARY KEY, new INTEGER, fresh INTEGER)")
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for table in (*KEYED, "studies"):
            connection.execute(f"DROP TABLE IF EXISTS temp.new_{table}")
        connection.execute("DETACH other")


def _take(into: Store, table: str) -> None:
    """Rows of one table, with our numbers in the place of theirs."""
    connection = into.connection
    columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
    listed = ", ".join(columns)
    if table in KEYED:
        values = ", ".join("NULL" if column == "id" else f"o.{column}" for column in columns)
        known = f"SELECT key FROM main.{table}"
        connection.execute(
            f"CREATE TEMP TABLE lacking AS SELECT id, key FROM other.{table} WHERE key NOT IN ({known}) ORDER BY id"
        )
        connection.execute(
            f"INSERT INTO main.{table} ({listed}) SELECT {values} FROM other.{table} o JOIN lacking l ON l.id = o.id "
            "ORDER BY o.id"
        )
        connection.execute(
            f"INSERT INTO temp.new_{table} SELECT o.id, m.id, o.id IN (SELECT id FROM lacking) FROM other.{table} o "
            f"JOIN main.{table} m ON m.key = o.key"
        )
        connection.execute("DROP TABLE temp.lacking")
        return
    if table == "studies":
        _take_studies(into, columns)
        return
    named = {column: NUMBERED[column] for column in columns if column in NUMBERED}
    values = ", ".join(
        f"n_{column}.new" if column in named else "NULL" if column == "id" and table in COUNTED else f"o.{column}"
        for column in columns
    )
    numbers = (f"LEFT JOIN temp.new_{of} n_{column} ON n_{column}.old = o.{column}" for column, of in named.items())
    joins = " ".join(numbers)
    owner = COUNTED.get(table) or next((column for column in OWNERS if column in named), "")
    where = f"WHERE n_{owner}.fresh" if owner else "WHERE true"  # so that SQLite does not read ON as a join's
    order = "ORDER BY o.id" if table in COUNTED else ""
    connection.execute(
        f"INSERT INTO main.{table} ({listed}) SELECT {values} FROM other.{table} o {joins} {where} {order} "
        "ON CONFLICT DO NOTHING"
    )


def _take_ends(into: Store) -> None:
    """Of cells that were known here and are done only there: that they are done."""
    columns = [row[1] for row in into.connection.execute("PRAGMA main.table_info(cell_events)")]
    values = ", ".join({"id": "NULL", "cell": "n.new"}.get(column, f"e.{column}") for column in columns)
    into.connection.execute(
        f"""
        INSERT INTO main.cell_events ({", ".join(columns)})
        SELECT {values} FROM other.cell_events e JOIN temp.new_cells n ON n.old = e.cell
        WHERE e.id = (SELECT max(id) FROM other.cell_events WHERE cell = e.cell AND status = 'done')
          AND NOT EXISTS (SELECT 1 FROM main.cell_events WHERE cell = n.new AND status = 'done')
        ORDER BY e.id
        """
    )


def _take_studies(into: Store, columns: list[str]) -> None:
    """Each that is not here as a row of its own; which of them is the newest, their times say."""
    connection = into.connection
    for row in connection.execute("SELECT * FROM other.studies ORDER BY id").fetchall():
        values = dict(zip(columns, tuple(row), strict=True))
        known = connection.execute(
            "SELECT id FROM main.studies WHERE name = ? AND level = ? AND key = ? AND at = ?",
            [values[column] for column in ("name", "level", "key", "at")],
        ).fetchone()
        old = values["id"]
        if known is not None:
            connection.execute("INSERT INTO temp.new_studies VALUES (?, ?, 0)", (old, known["id"]))
            continue
        marks = ", ".join("?" * len(columns))
        given = [None if column == "id" else value for column, value in values.items()]
        made = connection.execute(f"INSERT INTO main.studies ({', '.join(columns)}) VALUES ({marks})", given)
        connection.execute("INSERT INTO temp.new_studies VALUES (?, ?, 1)", (old, made.lastrowid))
