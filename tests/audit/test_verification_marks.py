"""A mark says that somebody refereed the facts that are there now, and nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from conftest import Advbench, Results
from tampering import edit

from advbench.store import Store, marks


def marked(db: Path) -> dict[str, bool]:
    with Store.open(db, readonly=True) as store:
        return {cell: mark.sound for cell, mark in marks.marks(store).items()}


@pytest.fixture(scope="module")
def verified(advbench: Advbench, results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    db = results.copy(tmp_path_factory.mktemp("verified"))
    assert marked(db) == {}
    done = advbench("verify", "--db", db)
    assert done.code == 0, done.out
    assert "24 marks kept in" in done.out
    return db


@pytest.fixture
def db(verified: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(verified.read_bytes())
    (tmp_path / "copy.artifacts").symlink_to(verified.with_suffix(".artifacts"))
    return copy


def test_verify_marks_every_cell_that_it_refereed(advbench: Advbench, db: Path) -> None:
    assert list(marked(db).values()) == [True] * 24
    with Store.open(db, readonly=True) as store:
        row = store.rows("SELECT * FROM verifications ORDER BY id LIMIT 1")[0]
    assert row["versions"]["advbench"]
    assert row["hardware"]["device"] == "cpu"
    assert "24 marks kept" in advbench("verify", "--db", db).out, "and again, for who wants a newer one"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = 1 AND example = 63",
        "UPDATE outcomes SET reached = 1 - reached WHERE cell = 1 AND example = 63",
        "UPDATE outcomes SET size = size * 0.99 WHERE cell = 1 AND example = 63",
        "UPDATE outcomes SET violation = 'outside the ball' WHERE cell = 1 AND example = 63",
        "DELETE FROM outcomes WHERE cell = 1 AND example = 63",
        "UPDATE clean SET label = (label + 1) % 3 WHERE target = 1 AND example = 63",
        "UPDATE targets SET weights_sha256 = 'ab' WHERE id = 1",
        "UPDATE cells SET eps = eps / 2 WHERE id = 1",
        "UPDATE cells SET attack = 'a stronger one' WHERE id = 1",
        "UPDATE shards SET artifact = 'another' WHERE cell = 1",
    ],
)
def test_a_mark_is_gone_when_the_facts_behind_it_are_altered(db: Path, sql: str) -> None:
    with Store.open(db) as store:
        first = store.rows("SELECT key FROM cells WHERE id = 1")[0]["key"]
    edit(db, sql)
    left = marked(db)
    assert first not in left
    if "clean" not in sql and "targets" not in sql:
        assert len(left) == 23


def test_a_suspicion_that_somebody_moved_ends_the_marks_of_its_detector(db: Path) -> None:
    edit(db, "UPDATE targets SET threshold = threshold + 1 WHERE threshold IS NOT NULL")
    assert marked(db) == {}, "every cell was judged on a detector too"


def test_the_last_mark_counts_and_says_what_differs(advbench: Advbench, db: Path) -> None:
    with Store.open(db) as store:
        first = store.rows("SELECT key FROM cells WHERE id = 1")[0]["key"]
    edit(db, "UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = 1 AND example = 63")
    assert advbench("verify", first, "--db", db).code == 1
    assert marked(db)[first] is False
    with Store.open(db, readonly=True) as store:
        assert "example 63" in str(marks.marks(store)[first].reason)


def test_wrong_clean_answers_leave_no_cell_of_their_target_marked_sound(advbench: Advbench, db: Path) -> None:
    edit(db, "UPDATE clean SET predicted = (predicted + 1) % 3 WHERE target = 1 AND example = 63")
    assert advbench("verify", "--db", db).code == 1
    assert set(marked(db).values()) == {False}, "all cells were judged on that target"


def test_a_newcomer_that_is_judged_later_does_not_end_a_mark(advbench: Advbench, db: Path, results: Results) -> None:
    suite = db.parent / "more.yaml"
    suite.write_text(results.suite.read_text().replace("toy(seed=1)]", "toy(seed=1), toy(seed=2)]"))
    assert advbench("run", suite, "--db", db).code == 0
    left = marked(db)
    assert len(left) == 24
    assert set(left.values()) == {True}


def test_verify_without_a_mark_leaves_the_file_as_it_is(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    db = results.copy(tmp_path)
    before = db.read_bytes()
    assert advbench("verify", "--no-mark", "--db", db).code == 0
    assert db.read_bytes() == before
    assert marked(db) == {}


def test_a_database_that_cannot_be_written_is_verified_all_the_same(
    advbench: Advbench, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = results.copy(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    before = db.read_bytes()
    done = advbench("verify", "--db", db)
    assert done.code == 0, done.out
    assert "all verified" in done.out
    assert re.search(r"No mark kept: .*copy\.sqlite can't be written to", done.out)
    assert db.read_bytes() == before


def test_a_picture_that_is_not_the_perturbation_s_is_found(advbench: Advbench, db: Path) -> None:
    edit(
        db,
        "UPDATE exhibits SET perturbed = (SELECT o.perturbed FROM exhibits o WHERE o.cell = exhibits.cell "
        "AND o.example <> exhibits.example LIMIT 1) WHERE cell = 1 AND example = 60",
    )
    done = advbench("verify", "--db", db)
    assert done.code == 1
    assert "example 60: another picture is stored (perturbed)" in done.out


def test_examples_that_somebody_chose_are_found(advbench: Advbench, db: Path) -> None:
    edit(db, "UPDATE cells SET count = 19 WHERE id = 1")
    done = advbench("verify", "--db", db)
    assert done.code == 1
    assert "its examples are not the first 19 of toy-blots" in done.out
