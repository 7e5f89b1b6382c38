"""Each column of each table with a value that nobody wrote: merged, and rendered with and without a merge."""

from __future__ import annotations

import sqlite3
from random import Random

from fuzz.joined import told
from fuzz.scene import Kind, Scene

VALUES: dict[str, tuple[object, ...]] = {
    "TEXT": (
        "",
        "abc",
        '"abc"',
        "[[[",
        "{}",
        "[]",
        "null",
        "3",
        '{"a": NaN}',
        "\x1b[31m\u202e<b>",
        "é" * 3000,
        "f" * 64,
        None,
    ),
    "INTEGER": (-1, 0, 1, 2, 10**6, 2**31, 2**62, -(2**63), None),
    "REAL": (-1.0, 0.0, 0.5, 1e308, float("inf"), -float("inf"), 1e-320, None),
    "BLOB": (b"", b"\0", b"x\x9c" + b"\0" * 40, b"\xff" * 100_000, None),
}


def columns(scene: Scene) -> list[tuple[str, str, str]]:
    with sqlite3.connect(scene.db) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = [
            (table, row[1], row[2])
            for table in sorted(tables)
            if connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for row in connection.execute(f"PRAGMA table_info({table})")
        ]
    connection.close()
    return found


def case(scene: Scene, draw: Random, number: int) -> str:
    """Columns in turn, so that as many cases as there are columns meet each of them."""
    known = columns(scene)
    table, column, kind = known[number % len(known)]
    choice = VALUES[kind]
    value = choice[(number // len(known)) % len(choice)]
    everywhere = draw.random() < 0.3
    db = scene.copy("row")
    connection = sqlite3.connect(db, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    places = f"(SELECT {column} FROM {table} ORDER BY {column} LIMIT 1 OFFSET {draw.randrange(3)})"
    where = "" if everywhere else f" WHERE {column} IS {places}"
    try:
        connection.execute(f"UPDATE {table} SET {column} = ?{where}", (value,))
    except sqlite3.IntegrityError:
        return ""  # SQLite itself refuses it
    finally:
        connection.close()
    what = f"{table}.{column} = {str(value)[:30]!r}{' everywhere' if everywhere else ''}"
    folder = scene.place("row-out")
    into = folder / "into.sqlite"
    for arguments in (
        ("render", "--db", db, "--out", folder / "there"),
        ("show", "--db", db),
        ("merge", into, db),
        *([("render", "--db", into, "--out", folder / "here")]),
    ):
        if arguments[0] == "render" and arguments[2] == into and not into.is_file():
            continue
        ended = scene.advbench(*arguments)
        if ended.improper:
            return f"{' '.join(str(word) for word in arguments[:1])} after {what}: {ended.improper}"
        if arguments[0] == "render" and arguments[2] == into and ended.code:
            return f"merged, and can't be rendered any more, after {what}: {ended.out[-300:]} {ended.err[-200:]}"
    other = told(scene, into)
    return f"after {what}: {other}" if other else ""


KIND = Kind(1_800, case, seconds=90)
