"""What a stranger's rows say is read as what its columns should hold, or does not join."""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import Advbench, Results
from tampering import cells, edit

from advbench.errors import AdvbenchError
from advbench.store import Store, rows
from advbench.store.records import FORMS, wrong


def test_every_column_of_every_table_has_a_form() -> None:
    with Store.memory() as store:
        tables = [row["name"] for row in store.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {t: {row["name"] for row in store.rows(f"PRAGMA table_info({t})")} for t in tables}
    assert {table: set(forms) for table, forms in FORMS.items()} == columns


RECORDS = {
    rows.RunRow: ("runs", {"started"}),
    rows.PluginRow: ("plugins", {"run"}),
    rows.SkipRow: ("skips", {"run"}),
    rows.DatasetRow: ("datasets", set()),
    rows.TargetRow: ("targets", {"id"}),
    rows.CleanRow: ("clean", {"target"}),
    rows.CertificateRow: ("certificates", {"target"}),
    rows.BoardRow: ("boards", set()),
    rows.CellRow: ("cells", {"id"}),
    rows.EventRow: ("cell_events", {"id", "cell"}),
    rows.ImportRow: ("imports", {"id", "cell"}),
    rows.ShardRow: ("shards", {"cell"}),
    rows.OutcomeRow: ("outcomes", {"cell", "target"}),
    rows.ArtifactRow: ("artifacts", set()),
    rows.ExhibitRow: ("exhibits", {"cell"}),
}
"""With the columns that a record leaves out: numbers, whose it is, and the clock."""


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_has_every_column_of_its_table(kind: type[Any]) -> None:
    table, apart = RECORDS[kind]
    assert {field.name for field in fields(kind)} == FORMS[table].keys() - apart


def test_what_a_run_writes_has_its_form(results: Results) -> None:
    with Store.open(results.db, readonly=True) as store:
        for table in FORMS:
            assert [text for row in store.rows(f"SELECT * FROM {table}") if (text := wrong(table, row))] == []


@pytest.mark.parametrize(
    ("table", "column", "value", "words"),
    [
        ("datasets", "shape", ["a", "b", "c"], "three whole numbers"),
        ("datasets", "shape", [1, 8], "three whole numbers"),
        ("datasets", "shape", [1 << 15, 1 << 15, 3], "three whole numbers"),
        ("datasets", "classes", ["only"], "at least two names"),
        ("cells", "goal", "class=-1", "a goal such as"),
        ("cells", "eps", float("nan"), "a number from 0"),
        ("cells", "params", {"eps": {"deep": 1}}, "a mapping from names to numbers"),
        ("cells", "count", 0, "a whole number from 1"),
        ("targets", "params", {"model": {}}, "for model and defenses"),
        ("boards", "required", ["a", "a"], "each once"),
        ("boards", "required", [f"{number:01000}" for number in range(501)], "not too many"),
        ("runs", "started", "yesterday", "a time such as"),
        ("shards", "artifact", "../../etc/passwd", "64 hexadecimal digits"),
        ("outcomes", "reached", 2, "a whole number from 0 to 1"),
        ("outcomes", "confidence", 7.0, "a number from 0 to 1"),
    ],
)
def test_a_value_of_another_form_is_named_with_its_column(table: str, column: str, value: Any, words: str) -> None:
    told = wrong(table, {column: value})
    assert told.startswith(f"{table}.{column} must be ")
    assert words in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE datasets SET shape = '\"abc\"'", "the column shape should hold a list"),
        ("UPDATE datasets SET shape = '[1, 0, 8]'", "datasets.shape must be three whole numbers"),
        ("UPDATE datasets SET classes = '[['", "the column classes should hold JSON"),
        ("UPDATE targets SET recipe = '3' WHERE id = 1", "the column recipe should hold a mapping"),
        ("UPDATE runs SET settings = '[1]'", "the column settings should hold a mapping"),
        ("UPDATE runs SET versions = '{\"torch\": NaN}'", "the column versions should hold JSON"),
        ("UPDATE cell_events SET at = 'soon'", "cell_events.at must be a time"),
        ("UPDATE shards SET seconds = 1e300", "shards.seconds must be a finite number"),
    ],
)
@pytest.mark.parametrize("check", ["all", "none"])
def test_a_row_that_can_not_be_read_keeps_what_needs_it_out(
    advbench: Advbench, results: Results, tmp_path: Path, sql: str, words: str, check: str
) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    edit(origin, sql)
    done = advbench("merge", into, origin, "--check", check)
    said = " ".join((done.out + done.err).split())
    assert words in said
    assert "Traceback" not in said
    assert done.code in (1, 2)
    if into.exists():
        assert len(cells(into)) < len(cells(origin))
        assert advbench("render", "--db", into, "--out", tmp_path / "site").code == 0


def test_a_board_that_can_not_be_read_stays_out(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    edit(origin, "UPDATE boards SET required = '[\"pgd\", \"pgd\"]' WHERE name LIKE '%/l2/%'")
    done = advbench("merge", into, origin, "--check", "none")
    assert "boards.required must be a list of names, each once" in " ".join(done.out.split())
    with Store.open(into, readonly=True) as store:
        assert [board.family for board in store.boards()] == ["linf"]


def test_the_row_that_is_to_blame_is_named_where_something_can_not_be_read(results: Results, tmp_path: Path) -> None:
    path = results.copy(tmp_path)
    edit(path, "UPDATE cells SET count = 0 WHERE id = 3")
    with pytest.raises(AdvbenchError, match=r"cells.count must be a whole number from 1 .* it is damaged"):
        shares(path)
    with pytest.raises(ZeroDivisionError):  # our own mistake stays what it is
        shares(results.db, of=0)


def shares(db: Path, of: int = 1) -> list[float]:
    with Store.open(db, readonly=True) as store:
        return [of / (row["count"] * of) for row in store.rows("SELECT count FROM cells")]


def test_rows_that_can_not_be_read_are_left_out_with_what_hangs_on_them(results: Results, tmp_path: Path) -> None:
    path = results.copy(tmp_path)
    edit(path, "UPDATE targets SET params = '[' WHERE id = 1", "UPDATE boards SET required = '7' WHERE eps = 1")
    with Store.open(path, readonly=True) as store, store.tallied(whole=False) as left_out:
        assert [text.split(":")[0].split()[0] for text in left_out] == ["targets", "boards"]
        assert len(store.rows("SELECT * FROM cells")) == 18
        assert {row.family for row in store.boards()} == {"linf"}
        assert {row["target_label"] for row in store.rates("robust_accuracy")} == {
            "toy(seed=1)",
            "toy+toy-doubting",
            "toy(seed=1)+toy-doubting",
        }
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM cells").fetchone() == (24,)
    connection.close()
