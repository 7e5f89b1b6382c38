"""The schema, as numbered steps from an empty file to today's tables.

A step, once released, is never edited: a new one is added at the end. Views are no part of it (see `views`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from advbench.store.study_tables import STUDY_TABLES
from advbench.store.tables import FIRST_TABLES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

APPLICATION_ID = 0x61647662
"""`advb`, in the file's header: tells our databases from other programs'."""


def first_tables(connection: sqlite3.Connection) -> None:
    """Runs, data, targets, boards, cells and what came of them."""
    for statement in FIRST_TABLES:
        connection.execute(statement)
    _append_only(
        connection, ["runs", "run_ends", "plugins", "skips", "datasets", "example_sets", "targets", "clean", "boards"]
    )
    _append_only(connection, ["cells", "cell_events", "shards", "judgements", "outcomes", "artifacts"])


def notes_and_tolerances(connection: sqlite3.Connection) -> None:
    """Flags raised on targets, and the tolerance that each verdict was given with (unknown for older rows)."""
    connection.execute("ALTER TABLE outcomes ADD COLUMN tolerance REAL")
    connection.execute("""
        CREATE TABLE notes (
          target INTEGER NOT NULL REFERENCES targets (id),
          kind TEXT NOT NULL,
          reason TEXT NOT NULL,
          run TEXT REFERENCES runs (id),
          PRIMARY KEY (target, kind)
        ) STRICT, WITHOUT ROWID
    """)
    _append_only(connection, ["notes"])


def fitting_sets(connection: sqlite3.Connection) -> None:
    """The part of the data that a set-wide attack fitted its one perturbation on (none for older rows)."""
    connection.execute("ALTER TABLE cells ADD COLUMN fit TEXT")


def what_pages_show(connection: sqlite3.Connection) -> None:
    """The first examples of each cell as pictures, what its attack was told, and what plugins say of themselves.

    Pictures are zlib of bytes, channels first; `moved` is zlib of float16, downwards and to the right.
    """
    connection.execute("ALTER TABLE cells ADD COLUMN needs TEXT")
    connection.execute("ALTER TABLE plugins ADD COLUMN summary TEXT")
    connection.execute("ALTER TABLE plugins ADD COLUMN reference TEXT")
    connection.execute("""
        CREATE TABLE exhibits (
          cell INTEGER NOT NULL REFERENCES cells (id),
          example INTEGER NOT NULL,
          original BLOB NOT NULL,
          perturbed BLOB NOT NULL,
          redrawn BLOB,
          moved BLOB,
          words TEXT,
          PRIMARY KEY (cell, example)
        ) STRICT, WITHOUT ROWID
    """)
    _append_only(connection, ["exhibits"])


def draws_and_certificates(connection: sqlite3.Connection) -> None:
    """By how many draws a target is judged (one for older rows, randomised or not), and what defenses prove."""
    connection.execute("ALTER TABLE targets ADD COLUMN draws INTEGER NOT NULL DEFAULT 1")
    connection.execute("""
        CREATE TABLE certificates (
          target INTEGER NOT NULL REFERENCES targets (id),
          example INTEGER NOT NULL,
          family TEXT NOT NULL,
          predicted INTEGER NOT NULL,
          radius REAL NOT NULL,
          PRIMARY KEY (target, example, family)
        ) STRICT, WITHOUT ROWID
    """)
    _append_only(connection, ["certificates"])


def marks_and_imports(connection: sqlite3.Connection) -> None:
    """What was refereed again, with checksums of the facts that were, and which cells came from another database."""
    connection.execute("DROP TABLE IF EXISTS verifications")  # some kept one by hand, without checksums
    connection.execute("""
        CREATE TABLE verifications (
          id INTEGER PRIMARY KEY,
          cell INTEGER NOT NULL REFERENCES cells (id),
          at TEXT NOT NULL,
          sound INTEGER NOT NULL,
          facts TEXT NOT NULL,
          reason TEXT,
          versions TEXT,
          hardware TEXT
        ) STRICT
    """)
    connection.execute("CREATE INDEX verifications_of_cell ON verifications (cell, id)")
    connection.execute("""
        CREATE TABLE imports (
          id INTEGER PRIMARY KEY,
          cell INTEGER NOT NULL REFERENCES cells (id),
          at TEXT NOT NULL,
          source TEXT NOT NULL,
          refereed INTEGER NOT NULL
        ) STRICT
    """)
    _append_only(connection, ["verifications", "imports"])


def beyond_gradients(connection: sqlite3.Connection) -> None:
    """Whether a cell's attack also finds what no gradient at the image leads to (unknown for older rows)."""
    connection.execute("ALTER TABLE cells ADD COLUMN beyond_gradients INTEGER")


def what_keys_depend_on(connection: sqlite3.Connection) -> None:
    """What a cell's key is made from and no column said (unknown for older rows), and whose seed a board's cells have.

    `content` is what the attack says of the files that it reads. An older board takes cells of any seed.
    """
    for column in ("content", "fit_fingerprint", "bank_fingerprint"):
        connection.execute(f"ALTER TABLE cells ADD COLUMN {column} TEXT")
    connection.execute("ALTER TABLE boards ADD COLUMN seed INTEGER")


def crafted_on_arrival(connection: sqlite3.Connection) -> None:
    """Whether `merge` crafted a cell again and it came out the same, and what was found, in words.

    Both are unknown for older rows; there are no words where nobody tried.
    """
    connection.execute("ALTER TABLE imports ADD COLUMN crafted INTEGER")
    connection.execute("ALTER TABLE imports ADD COLUMN crafting TEXT")


def who_ships_a_ball(connection: sqlite3.Connection) -> None:
    """Whose `size` is believed, on a board and in its cells; NULL for the balls of the core, and in all older rows."""
    for table in ("cells", "boards"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN ball TEXT")


def parts_of_runs(connection: sqlite3.Connection) -> None:
    """Which part of how many a run is, of the whole that has these cells; 1 of 1 where it is all of it."""
    connection.execute("""
        CREATE TABLE parts (
          run TEXT PRIMARY KEY NOT NULL REFERENCES runs (id),
          part INTEGER NOT NULL,
          parts INTEGER NOT NULL,
          whole TEXT NOT NULL
        ) STRICT
    """)
    _append_only(connection, ["parts"])


def what_may_be_published(connection: sqlite3.Connection) -> None:
    """Whether images of a data set may be shown and handed on; those of all older rows may."""
    connection.execute("ALTER TABLE datasets ADD COLUMN publishable INTEGER NOT NULL DEFAULT 1")


def examples_drawn_at_random(connection: sqlite3.Connection) -> None:
    """The seed by which a set of examples was drawn from its data set; one without it is the first that is judged."""
    connection.execute("""
        CREATE TABLE example_draws (
          fingerprint TEXT PRIMARY KEY NOT NULL,
          seed INTEGER NOT NULL
        ) STRICT
    """)
    _append_only(connection, ["example_draws"])


def studies_of_papers(connection: sqlite3.Connection) -> None:
    """What analyses found, what papers published beside it, and how their claims were judged."""
    for statement in STUDY_TABLES.values():
        connection.execute(statement)
    _append_only(connection, STUDY_TABLES)


def lower_precision(connection: sqlite3.Connection) -> None:
    """In which precision a cell's attack was answered; NULL for float32, and in all older rows."""
    connection.execute("ALTER TABLE cells ADD COLUMN precision TEXT")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    first_tables,
    notes_and_tolerances,
    fitting_sets,
    what_pages_show,
    draws_and_certificates,
    marks_and_imports,
    beyond_gradients,
    what_keys_depend_on,
    crafted_on_arrival,
    who_ships_a_ball,
    parts_of_runs,
    what_may_be_published,
    examples_drawn_at_random,
    lower_precision,
    studies_of_papers,
)
SCHEMA_VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, version: int | None = None) -> None:
    """Take the missing steps, up to a version or all; the caller holds the write transaction: all of them or none."""
    for step in MIGRATIONS[version_of(connection) : version]:
        step(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION if version is None else version}")


def _append_only(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    for table in tables:
        for change in ("UPDATE", "DELETE"):
            connection.execute(f"""
                CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}
                BEGIN SELECT RAISE(ABORT, 'facts are never changed: {change} on {table}'); END
            """)
