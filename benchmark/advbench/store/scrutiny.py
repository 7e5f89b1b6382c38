"""Whether a file is what advbench makes: looked at before anything in it is believed, by every command that opens one.

A database is a program, too: a view in the place of a table answers for ever, a trigger runs when somebody writes.
"""

from __future__ import annotations

import sqlite3
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from advbench.errors import AdvbenchError
from advbench.store import views
from advbench.store.migrations import APPLICATION_ID, SCHEMA_VERSION, migrate, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LARGEST_VALUE = 64 << 20
"""Bytes of one value: pictures and settings stay far below."""
SLOWEST = 900.0
"""Seconds that one question may take: the rates of ten million outcomes are counted in half a minute."""
CHECKED = 256 << 20
"""Bytes of a file whose pages are all looked at when it is opened; larger ones take seconds, and `verify` does it."""
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
"""How a journal ends that belongs to several databases: after the name of the file that lists them."""
_STEPS = 1_000_000
"""Steps of SQLite's machine between two looks at the clock: some ten milliseconds."""


class Timed(sqlite3.Connection):
    """A connection whose questions end: one that takes longer than `SLOWEST` is interrupted."""

    asked = 0.0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.asked = time.monotonic()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self.asked = time.monotonic()
        return super().executemany(*arguments)

    def harden(self) -> None:
        """Read nothing but data, in pieces of a known size, in a known time."""
        self.execute("PRAGMA trusted_schema = OFF")  # no function is called because a table's text says so
        self.execute("PRAGMA cell_size_check = ON")
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        self.set_progress_handler(lambda: int(time.monotonic() - self.asked > SLOWEST), _STEPS)


def refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    """Never write into another program's database, nor into one of a future advbench."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if owner != APPLICATION_ID and (tables or owner):
        raise AdvbenchError(f"{path}: a SQLite database, but not one of advbench; name another file with --db")
    version = version_of(connection)
    if version > SCHEMA_VERSION:
        raise AdvbenchError(
            f"{path}: written by a newer advbench (schema {version}; this one knows schemas up to "
            f"{SCHEMA_VERSION}); upgrade advbench or name another file with --db"
        )
    if version < 0 or (tables and not version):
        raise AdvbenchError(f"{path}: no version of advbench made this (schema {version}); name another file with --db")


def refuse_foreign_parts(connection: sqlite3.Connection, path: Path) -> None:
    """Tables are ours to the letter, and nothing else is there that could answer or act in their place.

    An older database has other views than today's; who may write drops them, who may not hides them.
    """
    ours, older = _parts_of(version_of(connection)), version_of(connection) < SCHEMA_VERSION
    theirs = {(kind, name): sql for kind, name, sql in _parts(connection)}
    for (kind, name), sql in ours.items():
        if kind == "table" and theirs.get((kind, name)) != sql:
            how = "is missing" if (kind, name) not in theirs else "is another one"
            raise AdvbenchError(
                f"{path}: its tables are not those that advbench makes ({name} {how}); take a database of "
                "`advbench run`"
            )
    for (kind, name), sql in theirs.items():
        known = older or name in views.VIEWS if kind == "view" else ours.get((kind, name)) == sql
        if kind != "table" and not known:
            raise AdvbenchError(
                f"{path}: the {kind} {name[:60]!r} is not one that advbench makes; drop it, or take a database of "
                "`advbench run`"
            )
        if kind == "table" and (kind, name) not in ours and "virtual" in sql.lower().split()[:3]:
            raise AdvbenchError(f"{path}: the virtual table {name[:60]!r} is not one that advbench makes; drop it")


def refuse_journal(path: Path) -> None:
    """A journal of ours speaks of one database; of one that names another file, SQLite would delete that file."""
    journal = path.with_name(f"{path.name}-journal")
    try:
        if not stat.S_ISREG(journal.stat().st_mode):
            raise AdvbenchError(f"{journal}: no file, and SQLite would read it; remove it")
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - len(_NAMES_ANOTHER)))
            ending = file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise AdvbenchError(f"{journal}: can't be read ({error.strerror}); check its permissions") from error
    if ending == _NAMES_ANOTHER:
        raise AdvbenchError(f"{journal}: names another file, which SQLite would delete; advbench wrote none such")


def refuse_damage(connection: sqlite3.Connection, path: Path) -> None:
    """Pages and values that SQLite itself finds wrong, in files that are soon read."""
    pages, size = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
    if pages * size > CHECKED:
        return
    report = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if report != "ok":
        text = " ".join(str(report).split())[:120]
        raise AdvbenchError(f"{path}: damaged ({text}); restore it from a copy or name another with --db")


def lost_triggers(connection: sqlite3.Connection) -> list[str]:
    """What keeps facts from being changed, and was dropped by somebody: as statements."""
    there = {name for kind, name, _ in _parts(connection) if kind == "trigger"}
    ours = _parts_of(version_of(connection)).items()
    return [sql for (kind, name), sql in ours if kind == "trigger" and name not in there]


def _parts(connection: sqlite3.Connection) -> Iterable[tuple[str, str, str]]:
    """Kind, name and SQL of everything in the schema except what SQLite keeps for itself."""
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM main.sqlite_schema"):
        if not str(name).startswith("sqlite_"):
            yield str(kind), str(name), str(sql)


_KNOWN: dict[int, dict[tuple[str, str], str]] = {}


def _parts_of(version: int) -> dict[tuple[str, str], str]:
    """Tables, indices and triggers as the migrations up to this version make them."""
    if version not in _KNOWN:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
            migrate(fresh, version)
            _KNOWN[version] = {(kind, name): sql for kind, name, sql in _parts(fresh)}
    return _KNOWN[version]
