"""Opening the database file, writing in one kind of transaction, and SQLite's errors in words."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from advbench.errors import AdvbenchError, MalformedError, printable
from advbench.store import views
from advbench.store.migrations import SCHEMA_VERSION, migrate, version_of
from advbench.store.mounts import network
from advbench.store.records import UnreadableError
from advbench.store.scrutiny import (
    LARGEST_VALUE,
    SLOWEST,
    Timed,
    lost_triggers,
    refuse_damage,
    refuse_foreign_parts,
    refuse_journal,
    refuse_strangers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_SECONDS = 60.0


def located(path: str | Path) -> Path:
    """Where the file really lies: perturbations belong beside it, not beside a link to it."""
    if str(path) == ":memory:" or str(path).startswith("file:"):
        raise AdvbenchError(f"{path} is no file, and nothing would be kept; name one, like results.sqlite")
    try:
        if "\0" in str(path):
            raise ValueError("a zero byte in it")
        str(path).encode()
    except ValueError as error:  # SQLite opens what UTF-8 can say
        reason = "not UTF-8" if isinstance(error, UnicodeError) else error
        raise AdvbenchError(f"{printable(str(path))[:80]!r} is no name of a file for a database ({reason})") from error
    path = Path(path)
    try:
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    except (OSError, ValueError) as error:
        raise AdvbenchError(f"{str(path)[:80]!r}: no name of a file ({error})") from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write; makes the file, and migrates an older schema."""
    _refuse_unwritable(path)
    refuse_journal(path)
    with in_words(path):
        connection = sqlite3.connect(path.absolute(), timeout=BUSY_SECONDS, isolation_level=None, factory=Timed)
        with closed_by_failure(connection):
            configured(connection)
            refuse_strangers(connection, path)
            refuse_damage(connection, path)
            _set_journal(connection, path)
            if not _up_to_date(connection):
                with transaction(connection, path):  # whoever waited here finds the other's work done
                    refuse_strangers(connection, path)
                    views.drop(connection)
                    refuse_foreign_parts(connection, path)
                    if version_of(connection) < SCHEMA_VERSION:
                        migrate(connection)
                    views.refresh(connection)
                    for trigger in lost_triggers(connection):
                        connection.execute(trigger)
            refuse_foreign_parts(connection, path)
    return connection


def _refuse_unwritable(path: Path) -> None:
    """Before SQLite opens it: its journal would be made unwritable like the file, and stay so."""
    try:
        if path.is_dir():
            raise AdvbenchError(f"{path} is a folder: name a file for the database, like {path / 'results.sqlite'}")
        if not path.parent.is_dir():
            raise AdvbenchError(f"{path}: the folder {path.parent} does not exist; make it first")
        unwritable = path.exists() and not os.access(path, os.W_OK)
    except (OSError, ValueError) as error:  # too long, say
        raise AdvbenchError(
            f"{str(path)[:80]}…: no name of a file ({error.args[-1] if error.args else error})"
        ) from error
    if unwritable:
        raise AdvbenchError(f"{path}: can't be written; change its permissions or name another with --db")


def connect_readonly(path: Path) -> sqlite3.Connection:
    """A connection that leaves the file as it is, whatever its age; today's views are this connection's own."""
    if not path.is_file():
        raise AdvbenchError(f"{path}: no such database; `advbench run --db {path}` makes one")
    with in_words(path):
        connection = open_readonly(path)
        with closed_by_failure(connection):
            configured(connection)
            refuse_strangers(connection, path)
            if version_of(connection) == 0:
                raise AdvbenchError(f"{path} is empty; `advbench run --db {path}` fills it")
            refuse_foreign_parts(connection, path)
            refuse_damage(connection, path)
            if version_of(connection) >= SCHEMA_VERSION:
                views.refresh(connection, temporary=True)
                return connection
        with closing(connection):
            return _migrated_copy(connection)


def connect_memory() -> sqlite3.Connection:
    # closed by whichever thread collects the garbage that held it
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with closed_by_failure(connection):
        configured(connection)
        migrate(connection)
        views.refresh(connection)
    return connection


@contextmanager
def closed_by_failure(connection: sqlite3.Connection) -> Iterator[None]:
    """What fails while a connection is made ready closes it; else nobody would, and Python complains of that."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path | None) -> Iterator[None]:
    """All of the block's writes or none; one inside another joins it.

    It takes the write lock at its start: a transaction that reads first and then wants to write is refused at once
    when another process wrote in between, and no busy timeout helps.
    """
    if connection.in_transaction:
        yield
        return
    with in_words(path):
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has already rolled back
                connection.execute("ROLLBACK")
            raise


@contextmanager
def snapshot(connection: sqlite3.Connection, path: Path | None) -> Iterator[None]:
    """All of the block's reads see the database as it is at the first, whatever others write meanwhile."""
    if connection.in_transaction:
        yield
        return
    with in_words(path):
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


_DAMAGED = ("unsupported file format", "malformed JSON", "integer overflow")


def unreadable(path: Path | None, why: str) -> str:
    name = path or "the database in memory"
    return f"{name}: its facts can't be read ({why}); it is damaged, or advbench did not write all of it"


@contextmanager
def in_words(path: Path | None) -> Iterator[None]:
    """SQLite's complaints about the world outside, as one line that says what to do; our own mistakes pass through."""
    try:
        yield
    except UnreadableError as error:
        raise MalformedError(unreadable(path, str(error))) from error
    except UnicodeEncodeError as error:  # of what was asked for: a file's name, say, on a system that allows any bytes
        name = path or "the database in memory"
        raise AdvbenchError(
            f"{name}: {printable(str(error.object))[:80]!r} is not UTF-8, and nothing there is"
        ) from error
    except UnicodeDecodeError as error:  # SQLite's own complaint quotes what it found
        raise AdvbenchError(f"{path}: damaged (text that is no UTF-8); restore it from a copy") from error
    except sqlite3.DatabaseError as error:
        name = str(path or "the database in memory")
        if "decode" in str(error):  # from Python's side of SQLite, without a code
            raise AdvbenchError(f"{name}: damaged (text that is no UTF-8); restore it from a copy") from error
        if any(words in str(error) for words in _DAMAGED):  # which share their code with our own mistakes
            raise MalformedError(unreadable(path, str(error))) from error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte; the rest is detail
        advice = {
            sqlite3.SQLITE_FULL: f"{name}: the disk is full; free some space and run the same command again to resume",
            sqlite3.SQLITE_BUSY: f"{name}: another process has kept it locked for {BUSY_SECONDS:.0f} s; "
            "end that process, then run the same command again",
            sqlite3.SQLITE_LOCKED: f"{name}: locked by this process's own reading; run the same command again",
            sqlite3.SQLITE_READONLY: f"{name}: can't be written; change its permissions or name another with --db",
            sqlite3.SQLITE_CANTOPEN: f"{name}: can't be opened; check that its folder exists and can be written",
            sqlite3.SQLITE_PERM: f"{name}: can't be opened; check its permissions",
            sqlite3.SQLITE_NOTADB: f"{name}: not a SQLite database; name another file with --db",
            sqlite3.SQLITE_CORRUPT: f"{name}: damaged ({error}); restore it from a copy or name another with --db",
            sqlite3.SQLITE_INTERRUPT: f"{name}: a question to it took longer than {SLOWEST / 60:.0f} minutes; it is "
            "damaged, or advbench did not make it",
            sqlite3.SQLITE_TOOBIG: f"{name}: holds a value larger than {LARGEST_VALUE >> 20} MiB, so it is damaged or "
            "advbench did not make it",
            sqlite3.SQLITE_IOERR: f"{name}: reading or writing failed ({error}); {_check(path)}, then run again",
            sqlite3.SQLITE_PROTOCOL: f"{name}: can't be locked; {_check(path)}, then run again",
        }.get(code)
        if advice is None:
            raise
        raise AdvbenchError(advice) from error


def _check(path: Path | None) -> str:
    kind = None if path is None else network(path)
    if kind is None:
        return "check the disk"
    return f"it lies on {kind}, which may not lock files: name one on a disk of this machine with --db"


def configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    if isinstance(connection, Timed):
        connection.harden()
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")  # so that REPLACE meets the triggers against DELETE
    try:
        connection.execute("SELECT sqrt(2.0)")
    except sqlite3.OperationalError:  # SQLite built without math functions; intervals need a root
        connection.create_function("sqrt", 1, lambda x: None if x is None else math.sqrt(x), deterministic=True)
    return connection


def _set_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Written ahead, so that readers don't block the writer.

    The index of that log is memory which the processes of one machine share. Where others may open the file, too, it is
    a journal of what was there before, which needs nothing but locks; while it is being written, readers wait.
    """
    mode, effort = ("DELETE", "FULL") if network(path) else ("WAL", "NORMAL")
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:  # two processes that switch at once get SQLITE_BUSY, timeout or not
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.execute(f"PRAGMA synchronous = {effort}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _up_to_date(connection: sqlite3.Connection) -> bool:
    whole = version_of(connection) == SCHEMA_VERSION and views.current(connection)
    return whole and not lost_triggers(connection)


def open_readonly(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.resolve()))}"
    connection = sqlite3.connect(
        f"{address}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=Timed
    )
    try:
        with closed_by_failure(connection):
            connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        journal = path.with_name(f"{path.name}-journal")
        if journal.exists() and journal.stat().st_size:  # as it lies there, half of a transaction would be read
            raise AdvbenchError(
                f"{path}: it is being written, or a run was cut off while it wrote; wait, or give that run's command "
                "again, which takes back what is half written"
            ) from None
        # a database in WAL mode wants to write its index beside it; where the folder forbids that, nobody writes
        if path.with_name(f"{path.name}-wal").exists():
            raise
        return sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None, factory=Timed)
    return connection


def _migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect("", isolation_level=None, factory=Timed)  # a temporary file that SQLite removes by itself
    with closed_by_failure(copy):
        connection.backup(copy)
        configured(copy)
        views.drop(copy)
        migrate(copy)
        views.refresh(copy, temporary=True)
    return copy
