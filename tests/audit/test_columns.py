"""The table of docs/publishing.md says what becomes of every column of an entry, and merging does what it says."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import study_facts
from conftest import ROOT, Advbench
from tampering import by_hand

from advbench.store import Store, content
from advbench.store.connection import connect_memory

pytestmark = pytest.mark.slow  # referees many databases

SUITE = """\
name: columns
data: toy-blots
examples: 8
shard: 5
models: toy
defenses: [toy-doubting, "randomized-smoothing(sigma=0.1, samples=10, proof=50)"]
attacks: [pgd(steps=2), universal-pgd(epochs=1)]
threats:
  - l2: {eps: 1}
  - l2: {eps: 0.5, attacks: [boundary(queries=200)], drawn: 3}
"""
CRAFTED = {"crafted": 1, "crafting": "the same as stored"}
FATES = ("recomputed", "compared", "told", "ignored")


def documented() -> dict[tuple[str, str], str]:
    text = (ROOT / "docs/publishing.md").read_text(encoding="utf-8")
    section = text.split("### What becomes of every column")[1].split("\n## ")[0]
    found: dict[tuple[str, str], str] = {}
    for line in section.splitlines():
        if match := re.fullmatch(r"\| `(\w+)` \| (.+) \| (\w+) \|", line):
            table, columns, fate = match.groups()
            for column in re.findall(r"`(\w+)`", columns):
                assert (table, column) not in found, f"{table}.{column} stands there twice"
                found[table, column] = fate
    return found


def schema() -> dict[tuple[str, str], str]:
    """The type of every column of every table that advbench makes."""
    with closing(connect_memory()) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            (table, row[1]): row[2]
            for table in tables
            if not table.startswith("sqlite_")
            for row in connection.execute(f"PRAGMA table_info({table})")
        }


def test_every_column_has_its_line() -> None:
    assert documented().keys() == schema().keys()
    assert set(documented().values()) == set(FATES)


@pytest.fixture(scope="module")
def honest(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry with everything in it, marks, notes and all."""
    folder = tmp_path_factory.mktemp("columns")
    (folder / "columns.yaml").write_text(SUITE)
    db = folder / "entry.sqlite"
    done = advbench("run", folder / "columns.yaml", "--db", db)
    assert done.code == 0, done.out + done.err
    assert advbench("verify", "--db", db).code == 0
    with Store.open(db) as store:
        (target, *_) = store.targets()
        store.add_note(target.key, "verified", "independently audited")
        store.insert(
            "imports", [{"cell": 1, "at": "2026-11-30T12:00:00+00:00", "source": "elsewhere", "refereed": 1, **CRAFTED}]
        )
        study_facts.fill(store)
    return db


@pytest.fixture(scope="module")
def expected(advbench: Advbench, honest: Path) -> dict[str, set[tuple[Any, ...]]]:
    """What joins when nobody has forged anything."""
    into = honest.with_name("into.sqlite")
    done = advbench("merge", into, honest, "--reproduce", "none")
    assert done.code == 0, done.out + done.err
    return facts(into)


def facts(db: Path) -> dict[str, set[tuple[Any, ...]]]:
    with Store.open(db, readonly=True) as store:
        found = {table: set(rows) for table, rows in content(store).items()}
        marks = store.rows("SELECT sound, reason FROM verifications")
        imports = store.rows("SELECT source, refereed, crafted, crafting FROM imports")
    kept = {
        "verifications": {tuple(row.values()) for row in marks},
        "imports": {tuple(row.values()) for row in imports},
    }
    return {**found, **kept}


def other(kind: str, value: object, far: bool) -> object:
    """Another value of the column's type; of JSON something that can be read, of keys one that nothing has."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        return '["other"]' if value[0] == "[" else '{"other": 1}'
    if kind == "BLOB":
        return b"\x00" + (value if isinstance(value, bytes) else b"")
    if kind == "TEXT":
        return f"{value or ''}x"
    return (value if isinstance(value, int | float) else 0) + (0.5 if kind == "REAL" else 1000 if far else 1)


def change(db: Path, table: str, column: str, kind: str) -> None:
    """One value of one row."""
    with by_hand(db, triggers_return=True) as connection:
        keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
        place = " AND ".join(f"{key} IS ?" for key in keys)
        first = connection.execute(
            f"SELECT {column}, {', '.join(keys)} FROM {table} ORDER BY {', '.join(keys)} DESC"
        ).fetchone()
        value = other(kind, first[0], column in keys)
        sql = f"UPDATE {table} SET {column} = ? WHERE {place}"
        assert connection.execute(sql, (value, *first[1:])).rowcount == 1


HELD = sorted(place for place, fate in documented().items() if fate != "told")
ALWAYS = {table: (table, column) for table, column in reversed(HELD)}.values()
"""A column of every table."""
OF_EACH = {(table, documented()[table, column]): (table, column) for table, column in reversed(HELD)}.values()
"""A column of every table and fate."""


def mark(place: tuple[str, str]) -> list[pytest.MarkDecorator]:
    """What is compared is compared column by column, and always tried; all others of a table are read by nobody."""
    if place in ALWAYS:
        return []
    alone = documented()[place] == "compared" or place in OF_EACH
    return [pytest.mark.slow if alone else pytest.mark.exhaustive]


@pytest.mark.parametrize(
    ("table", "column"),
    [pytest.param(*place, id=".".join(place), marks=mark(place)) for place in HELD],
)
def test_what_is_not_told_changes_nothing_that_joins(
    advbench: Advbench,
    honest: Path,
    expected: dict[str, set[tuple[Any, ...]]],
    tmp_path: Path,
    table: str,
    column: str,
) -> None:
    forged, into = Path(shutil.copy(honest, tmp_path / "entry.sqlite")), tmp_path / "into.sqlite"
    (tmp_path / "entry.artifacts").symlink_to(honest.with_suffix(".artifacts"))
    change(forged, table, column, schema()[table, column])
    done = advbench("merge", into, forged, "--reproduce", "none")
    joined = facts(into) if into.exists() else {}
    for name, rows in joined.items():
        assert rows <= expected[name], f"{name}: {sorted(map(str, rows - expected[name]))[:2]}"
    if documented()[table, column] == "ignored" and column != "id":
        assert done.code == 0
        assert joined == expected
    elif done.code == 0:
        assert joined["cells"] < expected["cells"] or joined == expected, "silently left out"
