"""Examples drawn at random, doubted: honest draws are verified, merged and reproduced, no other set passes for one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import Advbench
from tampering import forge, rows

from advbench import Examples
from advbench.run import boards, roster
from advbench.store import Store, content, marks
from advbench.store.conflicts import ConflictError, refuse_other_draw

SUITE = """\
name: entry
data: toy-blots
examples: 9
drawn: 4
shard: 5
models: [toy, toy(seed=1)]
attacks: [pgd(steps=3), boundary(queries=200)]
goals: [random]
threats:
  - linf(eps=0.2)
  - l2: {eps: 1, drawn: 6}
"""
UNDRAWN = SUITE.replace("drawn: 4\n", "").replace(", drawn: 6", "")
FORGED = "its examples are not 9 of toy-blots drawn by seed"


def ran(advbench: Advbench, folder: Path, text: str = SUITE) -> Path:
    (folder / "entry.yaml").write_text(text)
    done = advbench("run", folder / "entry.yaml", "--db", folder / "entry.sqlite")
    assert done.code == 0, done.out + done.err
    return folder / "entry.sqlite"


@pytest.fixture(scope="module")
def honest(advbench: Advbench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; nobody writes to it."""
    return ran(advbench, tmp_path_factory.mktemp("honest"))


@pytest.fixture
def entry(honest: Path, tmp_path: Path) -> Path:
    """A copy, to forge."""
    shutil.copytree(honest.parent, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-site"))
    return tmp_path / honest.name


def facts(db: Path) -> dict[str, list[tuple[object, ...]]]:
    with Store.open(db, readonly=True) as store:
        return content(store)


def refused(advbench: Advbench, db: Path, words: str, *options: object) -> None:
    """Nothing of it joins, for the reason given, and the forged database is not verified either."""
    into = db.with_name("into.sqlite")
    done = advbench("merge", into, db, *options)
    assert done.code == 1, done.out + done.err
    assert words in " ".join(done.out.split()), done.out
    assert "0 cells taken" in done.out
    for table in ("cells", "boards", "example_sets", "example_draws"):
        assert rows(into, f"SELECT * FROM {table}") == []
    checked = advbench("verify", "--db", db)
    assert checked.code == 1, checked.out
    assert words in " ".join(checked.out.split()), checked.out
    assert "all verified" not in checked.out


def test_an_honest_draw_is_verified(advbench: Advbench, entry: Path) -> None:
    done = advbench("verify", "--db", entry)
    assert done.code == 0, done.out
    assert "all verified" in done.out
    with Store.open(entry, readonly=True) as store:
        assert [mark.sound for mark in marks.marks(store).values()] == [True] * len(store.cells())


def test_an_honest_draw_joins_with_its_seed(advbench: Advbench, entry: Path) -> None:
    into = entry.with_name("into.sqlite")
    done = advbench("merge", into, entry)
    assert done.code == 0, done.out
    assert facts(into) == facts(entry)
    assert {row["seed"] for row in rows(into, "SELECT seed FROM example_draws")} == {4, 6}
    before = facts(into)
    assert "0 cells taken" in advbench("merge", into, entry).out
    assert facts(into) == before
    assert advbench("verify", "--db", into).code == 0
    # and a run on top of it has nothing to craft
    assert "0 cells crafted, 6 kept" in advbench("run", entry.with_name("entry.yaml"), "--db", into).out


def test_an_honest_draw_is_reproduced(advbench: Advbench, entry: Path) -> None:
    for row in rows(entry, "SELECT key FROM cells"):
        done = advbench("reproduce", row["key"], "--db", entry)
        assert done.code == 0, done.out + done.err


def test_what_is_drawn_is_exported_by_its_ids(advbench: Advbench, entry: Path, tmp_path: Path) -> None:
    import numpy as np

    (row, *_) = rows(entry, "SELECT key, examples FROM cells")
    assert advbench("export", row["key"], tmp_path / "out.npz", "--db", entry).code == 0
    with Store.open(entry, readonly=True) as store:
        due = store.examples(row["examples"])
    assert np.load(tmp_path / "out.npz")["example"].tolist() == due


def test_it_is_said_wherever_the_examples_are_counted(advbench: Advbench, entry: Path, tmp_path: Path) -> None:
    suite = entry.with_name("entry.yaml")
    planned = advbench("plan", suite).out
    assert "9 drawn by seed 4" in planned
    assert "9 drawn by seed 6" in planned
    assert "9 drawn by seed 11" in advbench("plan", suite, "--drawn", 11).out
    shown = advbench("show", "--db", entry).out
    assert " · 9 examples drawn by seed 4 · percent right" in shown
    assert " · 9 examples drawn by seed 6 · percent right" in shown
    (row, *_) = rows(entry, "SELECT key FROM cells WHERE threat = 'linf'")
    assert "9 drawn by seed 4" in advbench("show", row["key"], "--db", entry).out
    assert advbench("render", "--db", entry, "--out", tmp_path / "site").code == 0
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "site").rglob("*.html")]
    assert sum("drawn by seed 4" in page for page in pages) >= 4


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--drawn", "-1", "--drawn: must be a seed from 0 to 2^63 - 1, not -1"),
        ("--examples", "1000", "toy-blots has 30 examples to judge; the suite asks for 1000"),
    ],
)
def test_an_option_that_can_not_be_is_one_line(
    advbench: Advbench, entry: Path, option: str, value: str, words: str
) -> None:
    assert words in advbench("run", entry.with_name("entry.yaml"), option, value, "--db", entry).complaint


def test_a_draw_of_nothing_said_is_one_line(advbench: Advbench, tmp_path: Path) -> None:
    suite = tmp_path / "all.yaml"
    suite.write_text(UNDRAWN.replace("examples: 9\n", ""))
    complaint = advbench("plan", suite, "--drawn", 0).complaint
    assert complaint == "--drawn: needs `examples`, which says how many are drawn"
    assert "9 drawn by seed 0" not in advbench("plan", suite, "--drawn", 0, "--examples", 8).out


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE example_draws SET seed = 5 WHERE seed = 4", f"{FORGED} 5"),
        ("DELETE FROM example_draws WHERE seed = 4", "its examples are not the first 9 of toy-blots"),
        ("UPDATE example_draws SET fingerprint = 'ab' || substr(fingerprint, 3)", "its examples are not the first 9"),
    ],
)
def test_another_seed_or_none_is_found(advbench: Advbench, entry: Path, sql: str, words: str) -> None:
    forge(entry, sql)
    forge(entry, "DELETE FROM cells WHERE threat = 'l2'", "DELETE FROM boards WHERE threat = 'l2'")
    refused(advbench, entry, words)
    (row, *_) = rows(entry, "SELECT key FROM cells")
    assert words in advbench("reproduce", row["key"], "--db", entry).complaint


def test_the_first_ones_are_no_draw(advbench: Advbench, tmp_path: Path) -> None:
    db = ran(advbench, tmp_path, UNDRAWN)
    assert advbench("verify", "--db", db).code == 0
    forge(db, "INSERT INTO example_draws SELECT DISTINCT examples, 4 FROM cells")
    with Store.open(db, readonly=True) as store:
        assert marks.marks(store) == {}, "what was marked is no longer what is said"
    refused(advbench, db, f"{FORGED} 4")


@contextmanager
def last_ones() -> Iterator[None]:
    """A version that takes the examples which suit it, and calls them drawn."""

    def chosen(judge: Examples, count: int, seed: int) -> Examples:
        return judge[torch.arange(len(judge) - count, len(judge))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boards, "draw", chosen)
        patch.setattr(roster, "draw", chosen)
        yield


def test_examples_that_somebody_chose_are_no_draw(advbench: Advbench, tmp_path: Path) -> None:
    """Everything fits together: ids, fingerprints, keys, outcomes and pictures."""
    with last_ones():
        db = ran(advbench, tmp_path, SUITE.replace(", drawn: 6", ""))
        assert advbench("verify", "--no-mark", "--db", db).code == 0
    refused(advbench, db, f"{FORGED} 4")
    (row, *_) = rows(db, "SELECT key FROM cells")
    assert f"{FORGED} 4" in advbench("reproduce", row["key"], "--db", db).complaint


def test_a_set_that_is_here_becomes_no_draw_by_a_merge(advbench: Advbench, honest: Path, tmp_path: Path) -> None:
    """Also where nobody can tell, since nothing is refereed or the data set is elsewhere."""
    with Store.open(honest, readonly=True) as theirs, Store.memory() as ours:
        (examples, seed), *_ = theirs.draws().items()
        refuse_other_draw(ours, theirs, examples)  # of what is not here, nothing is said
        ours.add_examples(examples, theirs.examples(examples))
        with pytest.raises(ConflictError, match=f"not drawn here, drawn by seed {seed} there"):
            refuse_other_draw(ours, theirs, examples)
        ours.add_draw(examples, seed + 1)
        with pytest.raises(ConflictError, match=f"drawn by seed {seed + 1} here, drawn by seed {seed} there"):
            refuse_other_draw(ours, theirs, examples)


def test_a_merge_without_refereeing_says_what_is_otherwise_here(advbench: Advbench, entry: Path) -> None:
    into = entry.with_name("into.sqlite")
    assert advbench("run", entry.with_name("entry.yaml"), "--model", "toy", "--db", into).code == 0
    forge(entry, "UPDATE example_draws SET seed = 5 WHERE seed = 4")
    before = facts(into)["example_draws"]
    done = advbench("merge", into, entry, "--check", "none")
    assert done.code == 1
    assert "its examples are drawn by seed 4 here, drawn by seed 5 there" in " ".join(done.out.split())
    assert facts(into)["example_draws"] == before
