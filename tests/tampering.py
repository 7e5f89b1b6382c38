"""What somebody does to a database by hand, and what is in it then."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from advbench.run.keys import board_key, cell_key
from advbench.store import Store


@contextmanager
def by_hand(db: Path, *, triggers_return: bool = False) -> Iterator[sqlite3.Connection]:
    """Triggers are put away, for good or until everything is done, so that nothing shows that they were."""
    connection = sqlite3.connect(db, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("BEGIN")  # one transaction, or each trigger would be written to the disk by itself
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        yield connection
        for _, sql in triggers if triggers_return else ():
            connection.execute(sql)
        connection.execute("COMMIT")
    finally:
        connection.close()


def edit(db: Path, *statements: str) -> None:
    """Each changes something."""
    with by_hand(db) as connection:
        for sql in statements:
            assert connection.execute(sql).rowcount


def forge(db: Path, *statements: str) -> None:
    """As `edit`, and the triggers are there again."""
    with by_hand(db, triggers_return=True) as connection:
        for sql in statements:
            assert connection.execute(sql).rowcount


def rehash(db: Path) -> None:
    """Cells and boards under the keys of what they now say, as whoever reads our code can do."""
    with Store.open(db, readonly=True) as store:
        cells = [(cell_key(row), store.id_of("cells", row.key)) for row in store.cells()]
        boards = [(board_key(row), row.key) for row in store.boards()]
    forge(db, *(f"UPDATE cells SET key = '{key}' WHERE id = {number}" for key, number in cells))
    forge(db, *(f"UPDATE boards SET key = '{key}' WHERE key = '{old}'" for key, old in boards))


def rows(db: Path, sql: str) -> list[dict[str, Any]]:
    with Store.open(db, readonly=True) as store:
        return store.rows(sql)


def cells(db: Path) -> set[str]:
    """Their keys."""
    return {row["key"] for row in rows(db, "SELECT key FROM cells")}
