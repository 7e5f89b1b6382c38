"""A database that somebody prepared neither stops nor misleads whoever opens it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from advbench.errors import AdvbenchError
from advbench.store import Store, scrutiny

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


def prepared(path: Path, *statements: str) -> Path:
    Store.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA legacy_alter_table = ON")
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (("ALTER TABLE runs RENAME TO hidden", f"CREATE VIEW runs AS {ENDLESS}"), "runs is missing"),
        (("DROP TABLE notes", "CREATE TABLE notes (kind)"), "notes is another one"),
        (
            (f"CREATE TRIGGER slow BEFORE INSERT ON notes BEGIN SELECT count(*) FROM ({ENDLESS}); END",),
            "trigger 'slow'",
        ),
        (("CREATE VIEW mine AS SELECT 1",), "view 'mine'"),
        (("CREATE VIRTUAL TABLE words USING fts5(text)",), "virtual table 'words'"),
    ],
)
def test_what_could_answer_or_act_in_the_place_of_a_table_is_refused(
    tmp_path: Path, statements: tuple[str, ...], words: str
) -> None:
    path = prepared(tmp_path / "results.sqlite", *statements)
    with pytest.raises(AdvbenchError, match=words):
        Store.open(path, readonly=True)
    if words != "view 'mine'":  # who may write makes the views anew
        with pytest.raises(AdvbenchError, match=words):
            Store.open(path)


def test_a_question_that_never_ends_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrutiny, "SLOWEST", 0.2)
    path = prepared(tmp_path / "results.sqlite")
    with Store.open(path, readonly=True) as store, pytest.raises(AdvbenchError, match="a question to it took longer"):
        store.rows(f"SELECT count(*) FROM ({ENDLESS})")


def test_triggers_that_somebody_dropped_are_there_again(tmp_path: Path) -> None:
    path = prepared(tmp_path / "results.sqlite", "DROP TRIGGER cells_no_update", "DROP TRIGGER notes_no_delete")
    Store.open(path, readonly=True).close()
    with Store.open(path) as store:
        found = {row["name"] for row in store.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")}
    assert {"cells_no_update", "notes_no_delete"} <= found


def test_a_damaged_page_is_found_when_the_file_is_opened(tmp_path: Path) -> None:
    path = prepared(tmp_path / "results.sqlite")
    with sqlite3.connect(path) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'cells'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : (page - 1) * size + 8] = b"\xff" * 8
    path.write_bytes(data)
    for readonly in (True, False):
        with pytest.raises(AdvbenchError, match="damaged"):
            Store.open(path, readonly=readonly)


def journal_of_several(path: Path, other: Path) -> bytes:
    """What SQLite leaves when it was stopped while it wrote into several databases, which `other` lists."""
    magic, name = bytes.fromhex("d9d505f920a163d7"), bytes(other)
    data = path.read_bytes()
    size = int.from_bytes(data[16:18], "big")
    check = 7 + sum(data[place] for place in range(size - 200, 0, -200))
    head = b"".join(number.to_bytes(4, "big") for number in (1, 7, len(data) // size, 512, size))
    page = (1).to_bytes(4, "big") + data[:size] + check.to_bytes(4, "big")
    end = (0x40000000 // size + 1).to_bytes(4, "big") + name
    end += len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + magic
    return (magic + head).ljust(512, b"\0") + page + end


def test_a_journal_beside_the_file_deletes_no_other_file(tmp_path: Path) -> None:
    path, precious = prepared(tmp_path / "results.sqlite"), tmp_path / "precious.txt"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    precious.write_text("somebody's")
    journal = tmp_path / "results.sqlite-journal"
    journal.write_bytes(journal_of_several(path, precious))
    with pytest.raises(AdvbenchError, match=r"results\.sqlite-journal: names another file"):
        Store.open(path)
    with pytest.raises(AdvbenchError, match="a run was cut off while it wrote"):
        Store.open(path, readonly=True)
    assert precious.exists()
    connection = sqlite3.connect(path)
    connection.execute("SELECT * FROM runs").fetchall()
    connection.close()
    assert not precious.exists(), "SQLite itself deletes it, or this test says nothing"


@pytest.mark.parametrize("name", [":memory:", "file:x", "file::memory:?cache=shared"])
def test_a_database_that_would_keep_nothing_is_refused(name: str) -> None:
    with pytest.raises(AdvbenchError, match="is no file, and nothing would be kept"):
        Store.open(name)


@pytest.mark.parametrize("name", ["a" * 5000, "b\0c", os.fsdecode(b"\xff\xfe.sqlite")])
def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path, name: str) -> None:
    for readonly in (True, False):
        complaint = ""
        try:
            Store.open(tmp_path / name, readonly=readonly).close()
        except AdvbenchError as error:
            complaint = str(error)
        assert "\n" not in complaint
        assert complaint or "\0" not in name


def test_perturbations_lie_beside_the_file_and_not_beside_a_link_to_it(tmp_path: Path) -> None:
    import torch

    (tmp_path / "far").mkdir()
    with Store.open(tmp_path / "far" / "results.sqlite") as store:
        sha, _ = store.artifacts.put({"p": torch.zeros(3)})
    (tmp_path / "near.sqlite").symlink_to(tmp_path / "far" / "results.sqlite")
    with Store.open(tmp_path / "near.sqlite") as store:
        assert torch.equal(store.artifacts.get(sha)["p"], torch.zeros(3))
        store.artifacts.put({"p": torch.ones(3)})
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".artifacts"] == []


def as_nobody(work: Callable[[], str]) -> str:
    """In a process without root's rights, where this one has them."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(write, work().encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    return os.read(read, 10_000).decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no second user without fork")
def test_a_file_that_may_not_be_written_leaves_no_journal_behind(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
            folder.chmod(0o777)
    path = tmp_path / "results.sqlite"
    Store.open(path).close()
    path.chmod(0o444)

    def opened() -> str:
        try:
            Store.open(path)
        except AdvbenchError as error:
            return str(error)
        return "opened"

    assert "can't be written; change its permissions" in as_nobody(opened)
    assert [found.name for found in tmp_path.iterdir()] == ["results.sqlite"]


def test_opening_a_damaged_copy_is_one_line_whatever_is_damaged(tmp_path: Path) -> None:
    """Each byte of a small database in turn would take hours; here are some of each page."""
    path = prepared(tmp_path / "results.sqlite", "INSERT INTO runs (id, started) VALUES ('a', 'b')")
    data = path.read_bytes()
    code = (
        "import sys\nfrom advbench.errors import AdvbenchError\nfrom advbench.store import Store\n"
        "for path in sys.argv[1:]:\n"
        "    for readonly in (True, False):\n"
        "        try:\n"
        "            with Store.open(path, readonly=readonly) as store:\n"
        "                [store.rates(view) for view in ('rates', 'robust_accuracy')]\n"
        "        except AdvbenchError as error:\n"
        "            assert '\\n' not in str(error)\n"
    )
    copies = []
    for number, place in enumerate(range(20, len(data), max(1, len(data) // 60))):
        copy = tmp_path / f"{number}.sqlite"
        copy.write_bytes(data[:place] + bytes([data[place] ^ 0xA5]) + data[place + 1 :])
        copies.append(str(copy))
    ended = subprocess.run([sys.executable, "-c", code, *copies], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_a_future_file_format_and_what_is_no_json_are_told_as_damage(tmp_path: Path) -> None:
    path = prepared(tmp_path / "results.sqlite")
    with (
        Store.open(path, readonly=True) as store,
        pytest.raises(AdvbenchError, match=r"can't be read \(malformed JSON\)"),
    ):
        store.rows("SELECT value FROM json_each('[')")
    data = bytearray(path.read_bytes())
    data[47] = 9  # the schema format number
    path.write_bytes(data)
    for readonly in (True, False):
        with pytest.raises(AdvbenchError, match="unsupported file format"):
            Store.open(path, readonly=readonly)
