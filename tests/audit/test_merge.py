"""Databases join without losing, replacing or believing anything."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Advbench, Results
from processes import script
from tampering import cells, edit

from advbench.plugin import Attack, Plugin
from advbench.plugins.origin import Origin
from advbench.plugins.registry import Registry
from advbench.store import SCHEMA_VERSION, Store, content, marks, migrations
from advbench.store.joining import Joining

SHARED = ("plugins", "skips")  # of runs, which a merge takes with the cells that they made


def facts(db: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(db, readonly=True) as store:
        return content(store)


def everything(db: Path) -> list[str]:
    connection = sqlite3.connect(db)
    dumped = list(connection.iterdump())
    connection.close()
    return dumped


@contextmanager
def another_version() -> Iterator[None]:
    """Attacks say that they come from another source."""
    real = Registry.origin

    def origin(registry: Registry, plugin: Plugin) -> Origin:
        found = real(registry, plugin)
        return replace(found, digest="0" * 64) if isinstance(plugin, Attack) else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "origin", origin)
        yield


def rates(store: Store, view: str) -> list[str]:
    return sorted(map(repr, store.rates(view)))


def key(db: Path, number: int = 1) -> str:
    with Store.open(db, readonly=True) as store:
        return str(store.rows("SELECT key FROM cells WHERE id = ?", number)[0]["key"])


@pytest.fixture(scope="module")
def merged(advbench: Advbench, results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of `results`, refereed and taken."""
    into = tmp_path_factory.mktemp("merged") / "into.sqlite"
    done = advbench("merge", into, results.db)
    assert done.code == 0, done.out + done.err
    assert "24 cells taken (24 of them refereed again), 0 there already." in done.out
    return into


def test_a_merged_database_knows_what_its_origin_knows(merged: Path, results: Results) -> None:
    assert facts(merged) == facts(results.db)
    with Store.open(merged, readonly=True) as one, Store.open(results.db, readonly=True) as other:
        for view in ("robust_accuracy", "fooling", "transfer"):
            assert rates(one, view) == rates(other, view)


def test_merging_twice_changes_nothing(advbench: Advbench, merged: Path, results: Results) -> None:
    before = everything(merged)
    done = advbench("merge", merged, results.db)
    assert done.code == 0
    assert "0 cells taken (0 of them refereed again), 24 there already." in done.out
    assert everything(merged) == before


def test_cells_that_were_refereed_on_arrival_are_marked_and_say_where_they_came_from(merged: Path) -> None:
    with Store.open(merged, readonly=True) as store:
        assert [mark.sound for mark in marks.marks(store).values()] == [True] * 24
        assert {(row["source"], row["refereed"]) for row in store.rows("SELECT * FROM imports")} == {("toys.sqlite", 1)}


def test_the_perturbations_come_along_so_that_anybody_can_referee_them(advbench: Advbench, merged: Path) -> None:
    assert advbench("verify", "--no-mark", "--db", merged).code == 0


def test_two_parts_make_the_whole(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    for seed in ("toy", "toy(seed=1)"):
        part = tmp_path / f"{'one' if seed == 'toy' else 'two'}.sqlite"
        assert advbench("run", results.suite, "--model", seed, "--db", part).code == 0
    into = tmp_path / "into.sqlite"
    done = advbench("merge", into, tmp_path / "one.sqlite", tmp_path / "two.sqlite")
    assert done.code == 0, done.out
    assert len(cells(into)) == 24
    whole, here = facts(results.db), facts(into)
    for table in ("targets", "cells", "clean", "boards", "shards", "exhibits", "artifacts", "states"):
        assert here[table] == whole[table], table
    # who never met was never judged on each other
    assert set(here["outcomes"]) < set(whole["outcomes"])
    # and a run over both completes what is missing, without crafting anything again
    again = advbench("run", results.suite, "--db", into)
    assert "0 cells crafted, 24 kept" in again.out
    assert facts(into)["outcomes"] == whole["outcomes"]


def test_judgements_on_a_newcomer_join_the_cell_that_is_there(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    into = tmp_path / "into.sqlite"
    assert advbench("run", results.suite, "--model", "toy", "--db", into).code == 0
    done = advbench("merge", into, results.db)
    assert done.code == 0, done.out
    assert facts(into) | dict.fromkeys(SHARED) == facts(results.db) | dict.fromkeys(SHARED)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE outcomes SET reached = 1 - reached WHERE cell = 1 AND example = 63", "example 63 on toy: reached"),
        ("UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = 1 AND example = 63", "predicted"),
        ("DELETE FROM outcomes WHERE cell = 1 AND example = 63", "is not stored"),
        ("UPDATE exhibits SET perturbed = original, words = 'harmless' WHERE cell = 1 AND example = 60", "words"),
        ("UPDATE cells SET count = 19 WHERE id = 1", "its examples are not the first 19"),
    ],
)
def test_what_somebody_altered_stays_out_and_the_rest_comes_in(
    advbench: Advbench, few: Results, tmp_path: Path, sql: str, words: str
) -> None:
    origin, into = few.copy(tmp_path), tmp_path / "into.sqlite"
    edit(origin, sql)
    done = advbench("merge", into, origin)
    assert done.code == 1
    assert f"rejected {key(origin)[:12]}" in " ".join(done.out.split())
    assert words in done.out
    assert "1 cells taken (1 of them refereed again), 0 there already, 1 rejected." in done.out
    assert cells(into) == cells(origin) - {key(origin)}
    assert advbench("verify", "--db", into).code == 0


def test_clean_answers_that_somebody_altered_keep_everything_out_that_was_judged_on_the_target(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    edit(origin, "UPDATE clean SET predicted = label WHERE target = 1", "UPDATE clean SET confidence = 1")
    done = advbench("merge", into, origin)
    assert done.code == 1
    assert "clean answers of toy" in done.out
    assert cells(into) == set()


@pytest.mark.parametrize("damage", ["cut", "missing", "pipe", "elsewhere"])
def test_artifacts_that_do_not_hold_keep_their_cell_out(
    advbench: Advbench, few: Results, tmp_path: Path, damage: str
) -> None:
    origin, into = few.copy(tmp_path), tmp_path / "into.sqlite"
    with Store.open(origin, readonly=True) as store:
        sha = store.rows("SELECT artifact FROM shards WHERE cell = 1")[0]["artifact"]
        sql = "SELECT c.key FROM cells c JOIN shards s ON s.cell = c.id WHERE s.artifact = ?"
        names = {row["key"] for row in store.rows(sql, sha)}
    file = tmp_path / "copy.artifacts" / sha[:2] / f"{sha}.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "elsewhere":
        edit(origin, f"UPDATE shards SET artifact = '../../{'a' * 58}' WHERE artifact = '{sha}'")
    else:
        file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    for check in ("all", "none"):
        done = advbench("merge", into, origin, "--check", check)
        assert done.code == 1, done.out
        assert f"{len(names)} rejected" in done.out
        words = {
            "cut": "damaged",
            "missing": "missing",
            "pipe": "so no artifact",
            "elsewhere": "shards.artifact must be 64",
        }[damage]
        assert words in done.out
        assert cells(into) == cells(origin) - names
    assert advbench("verify", "--db", into).code == 0


def test_other_facts_under_the_same_key_are_a_conflict_and_replace_nothing(
    advbench: Advbench, merged: Path, results: Results, tmp_path: Path
) -> None:
    origin = results.copy(tmp_path)
    edit(
        origin,
        "UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = 1 AND example = 63",
        "UPDATE cells SET attack = 'another' WHERE id = 2",
    )
    before = everything(merged)
    for check in ("all", "none"):
        done = advbench("merge", merged, origin, "--check", check)
        assert done.code == 1
        assert "0 cells taken (0 of them refereed again), 22 there already, 2 conflict." in done.out
        assert "attack is pgd(steps=3) here, another there" in done.out
        assert "predicted is" in done.out
        assert everything(merged) == before


def test_a_cell_that_was_cut_into_other_shards_is_there_already(
    advbench: Advbench, results: Results, merged: Path, tmp_path: Path
) -> None:
    """How many examples were crafted at once says nothing of any of them."""
    suite, origin = tmp_path / "smaller.yaml", tmp_path / "smaller.sqlite"
    text = results.suite.read_text(encoding="utf-8")
    suite.write_text(re.sub("^shard: .*\n", "", text, flags=re.MULTILINE) + "shard: 7\n", encoding="utf-8")
    assert advbench("run", suite, "--model", "toy", "--defense", "none", "--db", origin).code == 0
    before = everything(merged)
    for check in ("all", "none"):
        done = advbench("merge", merged, origin, "--check", check)
        assert done.code == 0, done.out
        assert f"0 cells taken (0 of them refereed again), {len(cells(origin))} there already." in done.out
        assert everything(merged) == before
    altered = tmp_path / "altered.sqlite"
    shutil.copy(origin, altered)
    edit(altered, "UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = 1 AND example = 63")
    assert "predicted is" in advbench("merge", merged, altered).out
    assert everything(merged) == before
    # the other way round, there are verdicts on other targets, too
    done = advbench("merge", origin, merged, "--check", "none")
    assert done.code == 1
    assert "it is cut into other shards here" in done.out
    assert len(done.out.split("of its outcomes are not here")) == 1 + len(cells(altered))


def test_the_cell_that_stands_on_a_board_is_not_pushed_off_it(
    advbench: Advbench, merged: Path, results: Results, tmp_path: Path
) -> None:
    into = tmp_path / "into.sqlite"
    assert advbench("merge", into, results.db, "--check", "none").code == 0
    weaker = tmp_path / "weaker.sqlite"
    with another_version():
        assert advbench("run", results.suite, "--db", weaker).code == 0
    with Store.open(into, readonly=True) as store:
        before = rates(store, "fooling")
    assert advbench("merge", into, weaker, "--check", "none").code == 0
    assert len(cells(into)) == 48
    with Store.open(into, readonly=True) as store:
        assert rates(store, "fooling") == before
    everything_before = everything(into)
    assert "24 there already" in advbench("merge", into, weaker, results.db, "--check", "none").out
    assert everything(into) == everything_before


def test_another_version_with_the_same_source_is_the_same_result(
    advbench: Advbench, merged: Path, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Registry.origin
    monkeypatch.setattr(Registry, "origin", lambda registry, plugin: replace(real(registry, plugin), version="0.0.1"))
    newer = tmp_path / "newer.sqlite"
    assert advbench("run", results.suite, "--db", newer).code == 0
    assert "24 there already" in advbench("merge", merged, newer, "--check", "none").out


def test_a_file_of_the_same_name_pushes_nothing_off_either(
    advbench: Advbench, merged: Path, results: Results, tmp_path: Path
) -> None:
    """Whoever copies what is published can call it as it was called when it came in."""
    into = tmp_path / "into.sqlite"
    assert advbench("merge", into, results.db, "--check", "none").code == 0
    weaker = results.copy(tmp_path).rename(tmp_path / results.db.name)
    weaker.with_name("copy.artifacts").rename(weaker.with_suffix(".artifacts"))
    with another_version():
        assert advbench("run", results.suite, "--db", weaker).code == 0
    with Store.open(into, readonly=True) as store:
        before = rates(store, "fooling")
    assert "24 cells taken" in advbench("merge", into, weaker, "--check", "none").out
    with Store.open(into, readonly=True) as store:
        assert rates(store, "fooling") == before


def test_of_one_database_the_cell_asked_for_last_stands_wherever_it_is_merged(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    origin = results.copy(tmp_path)
    with another_version():
        assert advbench("run", results.suite, "--db", origin).code == 0
    assert advbench("run", results.suite, "--db", origin).code == 0  # the first ones stand again
    into = tmp_path / "into.sqlite"
    assert advbench("merge", into, origin, "--check", "none").code == 0
    with Store.open(into, readonly=True) as one, Store.open(origin, readonly=True) as other:
        assert rates(one, "fooling") == rates(other, "fooling")


def test_every_page_and_command_says_which_cells_were_crafted_again(
    advbench: Advbench, merged: Path, tmp_path: Path
) -> None:
    with Store.open(merged, readonly=True) as store:
        found = store.rows("SELECT c.key, c.source, i.* FROM imports i JOIN cells c ON c.id = i.cell")
    crafted, others = ([row for row in found if row["crafted"] == how] for how in (1, 0))
    assert len(crafted) + len(others) == 24
    assert len(crafted) >= 2
    assert {row["crafting"] for row in others} == {None}
    assert all("the same as stored" in row["crafting"] for row in crafted)
    site = tmp_path / "site"
    assert advbench("render", "--db", merged, "--out", site).code == 0
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (site / "cells").glob("*.html")}
    assert sum("Crafted again on arrival" in page for page in pages.values()) == 24
    assert sum('<span class="good">the same</span>: fools' in page for page in pages.values()) == len(crafted)
    assert sum("finds others, nobody has tried here" in page for page in pages.values()) == len(others)
    boards = "".join(page.read_text(encoding="utf-8") for page in (site / "boards").glob("*.html"))
    counts = re.findall(r"of its (\d+) cells? that came by merging, (\d+) crafted again", boards)
    assert sum(int(number) for number, _ in counts) >= 24
    assert sum(int(number) for _, number in counts) >= len(crafted)
    assert "Crafted again" in (site / "provenance.html").read_text(encoding="utf-8")
    assert "crafted_on_arrival" in (site / "data/cells.csv").read_text(encoding="utf-8").splitlines()[0]
    for row in (crafted[0], others[0]):
        words = " ".join(advbench("show", row["key"], "--db", merged).out.split())
        assert "came from toys.sqlite, refereed on arrival, " in words
        assert ("may be weaker than it is called" in words) == (not row["crafted"])


def test_a_later_merge_does_not_forget_that_a_cell_was_crafted_again(merged: Path, tmp_path: Path) -> None:
    from advbench_leaderboard.facts.checks import imported

    with Store.open(Path(shutil.copy(merged, tmp_path / "later.sqlite"))) as store:
        (row, *_) = store.rows("SELECT * FROM imports WHERE crafted")
        later = {**row, "id": None, "source": "later", "crafted": 0, "crafting": None}
        store.insert("imports", [later])
        found = [one for one in imported(store).values() if one.source == "later"]
    assert [(one.crafted, one.crafting) for one in found] == [(True, row["crafting"])]


def test_nobody_keeps_an_entry_out_by_running_under_its_run_s_number(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    """Who sees an entry before it is merged could hand in another one under the same number."""
    into = tmp_path / "into.sqlite"
    squatter = results.copy(tmp_path)
    edit(squatter, "UPDATE runs SET command = 'nothing', seed = 5", "DELETE FROM cell_events WHERE cell > 1")
    assert advbench("merge", into, squatter, "--check", "none").code == 0
    for taken in (23, 0):
        done = advbench("merge", into, results.db, "--check", "none")
        assert done.code == 0, done.out
        assert f"{taken} cells taken" in done.out
    with Store.open(into, readonly=True) as store:
        runs = store.rows("SELECT command, seed FROM runs ORDER BY seed")
        assert [row["seed"] for row in runs] == [0, 5]
        (own,) = store.rows(
            "SELECT DISTINCT r.seed FROM shards s JOIN runs r ON r.id = s.run JOIN cell_events e ON e.cell = s.cell "
            "WHERE s.cell > 1 AND e.run = s.run"
        )
        assert own == {"seed": 0}


def test_what_was_not_refereed_says_so(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    into = tmp_path / "into.sqlite"
    done = advbench("merge", into, results.db, "--check", "5")
    assert done.code == 0
    assert "24 cells taken (5 of them refereed again)" in done.out
    with Store.open(into, readonly=True) as store:
        assert len(marks.marks(store)) == 5
        assert sum(row["refereed"] for row in store.rows("SELECT * FROM imports")) == 5
    assert advbench("render", "--db", into, "--out", tmp_path / "site").code == 0
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "site/cells").glob("*.html")]
    assert sum("not refereed on arrival" in page for page in pages) == 19
    assert sum(">refereed on arrival" in page or ", refereed on arrival" in page for page in pages) == 5
    assert all("toys.sqlite" in page for page in pages)


def test_a_sample_that_does_not_hold_keeps_out_what_was_not_looked_at(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    edit(origin, "UPDATE outcomes SET reached = 1 - reached")
    done = advbench("merge", into, origin, "--check", "2")
    assert done.code == 1
    assert "0 cells taken (0 of them refereed again), 0 there already, 24 rejected." in done.out
    assert "of the same database did not hold" in done.out
    assert cells(into) == set()


def test_marks_are_not_believed_when_somebody_else_made_them(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    assert advbench("verify", "--db", origin).code == 0
    assert advbench("merge", into, origin, "--check", "none").code == 0
    with Store.open(into, readonly=True) as store:
        assert store.rows("SELECT * FROM verifications") == []


def test_entries_join_the_boards_that_are_there_and_bring_none(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    into, origin = tmp_path / "into.sqlite", tmp_path / "origin.sqlite"
    assert advbench("run", results.suite, "--model", "toy", "--threat", "linf(eps=0.2)", "--db", into).code == 0
    easy = results.suite.read_text().replace("attacks: [noise, pgd(steps=3)]", "attacks: [noise]")
    (tmp_path / "easy.yaml").write_text(easy)
    assert advbench("run", tmp_path / "easy.yaml", "--model", "toy(seed=1)", "--db", origin).code == 0
    boards = facts(into)["boards"]
    assert advbench("merge", into, origin, "--keep-boards").code == 0
    assert facts(into)["boards"] == boards
    with Store.open(into, readonly=True) as store:
        unranked = {row["target_label"]: row["unranked"] for row in store.rates("robust_accuracy")}
    assert unranked["toy"] is None
    assert unranked["toy(seed=1)"] == "pgd(steps=3) has not been run", "who met less than asked has no rank"
    assert advbench("merge", into, origin).code == 0
    assert set(boards) < set(facts(into)["boards"]), "who asks for no board less gets theirs too"


def test_cells_on_other_examples_are_set_beside_the_boards_number_and_never_called_replaced(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    into, origin = tmp_path / "into.sqlite", tmp_path / "origin.sqlite"
    one = ("--model", "toy", "--defense", "none", "--threat", "linf(eps=0.3)")
    assert advbench("run", results.suite, *one, "--attack", "noise", "--db", into).code == 0
    assert advbench("run", results.suite, *one, "--attack", "pgd(steps=3)", "--examples", 15, "--db", origin).code == 0
    merged = advbench("merge", into, origin, "--keep-boards")
    assert merged.code == 0
    assert "1 of them stand on no board here" in merged.out
    shown = advbench("show", "--db", into).out
    with Store.open(into, readonly=True) as store:
        (apart,) = store.rates("unplaced")
        (there,) = store.rates("elsewhere")
        assert there["cell"] == apart["cell"]
        assert (there["n"], apart["n"]) == (15, 15)
    left = apart["still_right"]
    assert left < 5, "pgd breaks the toy where noise leaves it right"
    shown = " ".join(shown.split())  # notes are folded at the console's width
    assert f"contradicted elsewhere: toy (cell {apart['cell'][:12]}): pgd(steps=3), run on another set, " in shown
    assert f"leaves {left} of 15 right where the attacks that count here leave 14 (p = 0.00012)" in shown
    cells = advbench("show", "--cells", "--db", into).out
    assert "replaced" not in cells
    assert f"{100 * apart['rate']:.1f} of 15, on no board" in cells
    assert "of 15, which no board judges" in advbench("show", apart["cell"][:12], "--db", into).out
    assert advbench("merge", into, origin).code == 0  # with its board
    assert "on no board" not in advbench("show", "--cells", "--db", into).out
    assert f"contradicted elsewhere: toy (cell {apart['cell'][:12]})" in advbench("show", "--db", into).out


def test_origins_are_only_read(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    origin = results.copy(tmp_path)
    before = origin.read_bytes()
    (tmp_path / "copy.artifacts").chmod(0o555)
    origin.chmod(0o444)
    assert advbench("merge", tmp_path / "into.sqlite", origin).code == 0
    assert origin.read_bytes() == before


def test_names_from_strangers_steer_no_terminal(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    evil = "char(27) || '[31m' || char(10) || 'taken: all' || char(8238)"
    edit(origin, f"UPDATE runs SET command = {evil}, suite = {evil}")
    done = advbench("merge", into, origin, "--check", "none")
    assert done.code == 0
    edit(origin, f"UPDATE cells SET attack = {evil}", f"UPDATE targets SET label = {evil}")
    conflict = advbench("merge", into, origin)
    assert conflict.code == 1
    rejected = advbench("merge", tmp_path / "other.sqlite", origin, "--check", "none")
    assert rejected.code == 1
    for text in (done.out, conflict.out, rejected.out):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\ntaken: all" not in text
    with Store.open(into, readonly=True) as store:
        assert all(row.label.isprintable() for row in store.targets())
        assert all(row["command"].isprintable() for row in store.rows("SELECT command FROM runs"))


def test_an_older_file_is_refused_with_what_brings_it_up_to_date(advbench: Advbench, tmp_path: Path) -> None:
    older = tmp_path / "older.sqlite"
    connection = sqlite3.connect(older, isolation_level=None)
    migrations.migrate(connection, SCHEMA_VERSION - 1)
    connection.close()
    complaint = advbench("merge", tmp_path / "into.sqlite", older).complaint
    assert "written by an older advbench" in complaint
    assert "`advbench verify` with this version brings it up to date" in complaint


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            f"PRAGMA user_version = {SCHEMA_VERSION - 2}",
            "advbench makes",
        ),
        (
            f"PRAGMA user_version = {SCHEMA_VERSION - 1}",
            "the trigger 'analyses_no_update' is not one that advbench makes",
        ),
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "written by a newer advbench"),
        ("PRAGMA application_id = 5", "not one of advbench"),
        ("ALTER TABLE outcomes ADD COLUMN more TEXT", "its tables are not those that advbench makes"),
        ("UPDATE cells SET protocol = 99 WHERE id = 3", "results of different protocols never meet"),
        ("UPDATE targets SET params = '[[[' WHERE id = 1", "its facts can't be read"),
        ("UPDATE cells SET params = printf('%.*c', 50000, '[') WHERE id = 1", "its facts can't be read"),
    ],
)
def test_what_cannot_be_merged_is_refused_in_one_line(
    advbench: Advbench, results: Results, tmp_path: Path, statement: str, words: str
) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    if statement.startswith("UPDATE"):
        edit(origin, statement)
    else:
        connection = sqlite3.connect(origin)
        connection.execute(statement)
        connection.close()
    assert words in advbench("merge", into, origin).complaint
    assert not into.exists() or cells(into) == set()


def test_places_that_hold_nothing_to_merge(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    into = tmp_path / "into.sqlite"
    assert "no such database" in advbench("merge", into, tmp_path / "none.sqlite").complaint
    (tmp_path / "text.sqlite").write_text("not a database, " * 1000)
    assert "not a SQLite database" in advbench("merge", into, tmp_path / "text.sqlite").complaint
    assert "can't be merged into itself" in advbench("merge", results.db, results.db).complaint
    assert "no such database" in advbench("merge", into, results.db, "--keep-boards").complaint
    assert "give all, none, or how many" in advbench("merge", into, results.db, "--check", "some").complaint
    assert not into.exists()


def test_a_view_in_the_place_of_a_table_is_not_read(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    origin = results.copy(tmp_path)
    connection = sqlite3.connect(origin)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA legacy_alter_table = ON")
    connection.execute("ALTER TABLE outcomes RENAME TO hidden")
    connection.execute("CREATE VIEW outcomes AS SELECT * FROM hidden")
    connection.close()
    assert "its tables are not those" in advbench("merge", tmp_path / "into.sqlite", origin).complaint


def test_weights_are_read_from_nowhere_else(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import advbench_toys
    from safetensors.torch import save_file

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    save_file(advbench_toys.network(0, 1.0).state_dict(), tmp_path / "w.safetensors")
    (here / "one.yaml").write_text(
        f"data: toy-blots\nexamples: 6\nmodels: toy-trainee(weights={tmp_path}/w.safetensors)\n"
        "attacks: noise\nthreats: linf(eps=0.1)\n"
    )
    assert advbench("run", "one.yaml", "--db", "one.sqlite").code == 0
    done = advbench("merge", "into.sqlite", "one.sqlite")
    assert done.code == 1
    assert "is no file in the current folder or below" in done.out
    monkeypatch.chdir(tmp_path)
    assert advbench("merge", "into.sqlite", "here/one.sqlite").code == 0


def test_a_network_of_the_same_label_does_not_stand_in_a_gate_for_the_one_that_was_attacked_here(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label names a file of weights without its folder."""
    import advbench_toys
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    for folder, seed in (("ours", 0), ("theirs", 1)):
        (tmp_path / folder).mkdir()
        save_file(advbench_toys.network(seed, float(seed == 0)).state_dict(), tmp_path / folder / "w.safetensors")
        (tmp_path / f"{folder}.yaml").write_text(
            f"data: toy-blots\nexamples: 12\nmodels: [toy-trainee(weights={folder}/w.safetensors), toy(scale=0.2)]\n"
            "attacks: pgd(steps=3)\nthreats: linf(eps=0.1)\n"
        )
        assert advbench("run", f"{folder}.yaml", "--db", f"{folder}.sqlite").code == 0
    label = "toy-trainee(weights=w.safetensors)"
    before = advbench("compare", label, "toy(scale=0.2)", "--db", "ours.sqlite").out
    assert advbench("merge", "ours.sqlite", "theirs.sqlite").code == 0
    with Store.open("ours.sqlite", readonly=True) as store:
        assert [row.label for row in store.targets()].count(label) == 2
    assert advbench("compare", label, "toy(scale=0.2)", "--db", "ours.sqlite").out == before
    assert advbench("compare", label, "toy(scale=0.2)", "--db", "theirs.sqlite").out != before


def test_a_board_of_few_examples_does_not_stand_in_a_gate_for_a_larger_one(
    advbench: Advbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards of one name may judge other examples, and a merge may bring some."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("ours", 12), ("theirs", 2)):
        (tmp_path / f"{name}.yaml").write_text(
            f"data: toy-blots\nexamples: {count}\nmodels: [toy, toy(scale=0.2)]\n"
            "attacks: pgd(steps=3)\nthreats: linf(eps=0.2)\n"
        )
        assert advbench("run", f"{name}.yaml", "--db", f"{name}.sqlite").code == 0
    before = advbench("compare", "toy", "toy(scale=0.2)", "--db", "ours.sqlite").out
    assert advbench("merge", "ours.sqlite", "theirs.sqlite").code == 0
    with Store.open("ours.sqlite", readonly=True) as store:
        assert sorted(row.count for row in store.boards()) == [2, 12]
    assert advbench("compare", "toy", "toy(scale=0.2)", "--db", "ours.sqlite").out == before


def test_failures_come_along_and_never_undo_what_is_done(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    origin, into = results.copy(tmp_path), tmp_path / "into.sqlite"
    assert advbench("merge", into, results.db, "--check", "none").code == 0
    with Store.open(origin) as store:
        store.add_event(key(origin), None, "failed", "later it broke")
    assert "24 there already" in advbench("merge", into, origin).out
    with Store.open(into, readonly=True) as store:
        assert store.cell_status(key(origin)) == "done"
    fresh = tmp_path / "fresh.sqlite"
    assert advbench("merge", fresh, origin).code == 0
    with Store.open(fresh, readonly=True) as store:
        assert store.cell_status(key(origin)) == "failed"


CHILD = """
import sys
sys.path[:0] = {paths!r}
sys.argv = ["advbench", "merge", {into!r}, {origin!r}]
import advbench.audit.merging
before = advbench.audit.merging._Merging.join
def join(self, cell, arrival, result):
    print("joining", flush=True)
    before(self, cell, arrival, result)
advbench.audit.merging._Merging.join = join
from advbench.cli import main
main()
"""


@pytest.mark.slow
def test_a_merge_killed_again_and_again_ends_as_if_nothing_had_happened(
    results: Results, merged: Path, tmp_path: Path
) -> None:
    into = tmp_path / "into.sqlite"
    metadata = next(path for path in map(Path, sys.path) if (path / "advbench_toys-1.0.dist-info").exists())
    code = CHILD.format(paths=[str(ROOT / "tests/toys"), str(metadata)], into=str(into), origin=str(results.db))
    chance = random.Random(0)
    kills = int(os.environ.get("ADVBENCH_KILLS", "3"))
    inside = 0
    for kill in range(kills + 1):
        child = script(code)
        begun = 0
        while kill < kills and begun < 2 and (line := child.stdout.readline()):  # so every attempt gets on
            begun += line == "joining\n"
        if begun == 2:
            time.sleep(chance.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
            child.communicate()
            inside += 0 < len(cells(into)) < 24
        else:  # the last one, or all of its cells were there before it could be killed
            out, err = child.communicate(timeout=300)
            assert child.returncode == 0, out + err
            break
    assert inside, "no kill landed while there was work to lose"
    assert facts(into) == facts(merged)
    with Store.open(into, readonly=True) as store:
        assert store.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert [mark.sound for mark in marks.marks(store).values()] == [True] * 24
        assert len(store.rows("SELECT * FROM imports")) == 24
    with Store.open(merged, readonly=True) as store:
        current = rates(store, "fooling")
    with Store.open(into, readonly=True) as store:
        assert rates(store, "fooling") == current


def test_a_conflict_in_the_middle_of_a_cell_leaves_nothing_of_it(results: Results, tmp_path: Path) -> None:
    from advbench.store.incoming import open_incoming

    def broken(*_: Any) -> None:
        raise KeyboardInterrupt

    with Store.open(tmp_path / "into.sqlite") as into, open_incoming(results.db) as origin:
        before = content(into)
        joining = Joining(into, origin, "toys")
        joining._events = broken  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            joining.join(key(results.db), refereed=True)
        assert content(into) == before
