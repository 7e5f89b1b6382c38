"""A database of version 0.1 opens, shows the numbers that it had, is verified by its own rules, and gets no further.

`version_0_1.zip` was made by commit f835819, the last one of protocol 1 (schema 6), with the plugins of `tests/toys`
installed, in a folder with the two suites that it holds:

    advbench run one.yaml --db toys.sqlite
    advbench run two.yaml --db toys.sqlite
    advbench verify --db toys.sqlite
    advbench render --db toys.sqlite --out site

It holds the database, vacuumed, its artifacts, and tables that this `render` offered for download (`site/data`). There
are detectors, certificates, a target that answers by chance, attacks on a set, with a smallest perturbation, in turns
and with plans of transport, goals that the target decides, another seed. The toys must not change their answers.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, Advbench, Results
from tampering import forge, rehash, rows

from advbench.audit.first_protocol import first_ball
from advbench.plugin import Attack
from advbench.run.keys import cell_key
from advbench.store import SCHEMA_VERSION, Store, marks
from advbench.store.rows import CellRow, listed
from advbench.threats import Wasserstein
from advbench.threats.membership import measure

ARCHIVE = ROOT / "tests/audit/version_0_1.zip"
LINF = "(SELECT id FROM cells WHERE attack = 'pgd(steps=3)' AND goal = 'untargeted' AND seed = 0 ORDER BY id LIMIT 1)"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "toys.sqlite"


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())["rows"]
    return found


def test_it_shows_every_number_that_it_had(advbench: Advbench, old: Path, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (tmp_path / "rendered").iterdir())
    assert len(names) > 10
    assert advbench("render", "--db", old, "--out", tmp_path / "site").code == 0
    for name in names:
        before, after = table(tmp_path / "rendered", name), table(tmp_path / "site/data", name)
        known = before[0].keys()
        assert [{column: row[column] for column in known} for row in after] == before, name


def test_its_pages_say_by_which_rules_it_was_judged(advbench: Advbench, old: Path, tmp_path: Path) -> None:
    assert advbench("render", "--db", old, "--out", tmp_path / "site").code == 0
    pages = [page.read_text() for page in (tmp_path / "site/boards").glob("*.html")]
    assert len(pages) == 5
    assert all("Everything here was judged by protocol 1" in page for page in pages)
    made = [*(tmp_path / "site/cells").glob("*.html"), *(tmp_path / "site/targets").glob("*.html")]
    assert len(made) == 37 + 4
    assert not [page for page in made if "advbench reproduce" in page.read_text()]
    shown = advbench("show", "--db", old)
    assert shown.code == 0
    assert "toy-blots/linf/0.2, protocol 1 · 6 examples" in shown.out


def test_marks_of_then_still_hold(advbench: Advbench, old: Path) -> None:
    assert advbench("show", "--db", old).code == 0
    with Store.open(old) as store:
        assert store.rows("PRAGMA user_version")[0]["user_version"] == SCHEMA_VERSION
        assert [mark.sound for mark in marks.marks(store).values()] == [True] * 37


def test_it_is_verified_by_its_own_rules(advbench: Advbench, old: Path) -> None:
    done = advbench("verify", "--db", old)
    assert done.code == 0, done.out
    assert "37 of 37 cells were judged by protocol 1, and refereed by its rules." in done.out
    assert "862 verdicts and clean answers of 37 cells refereed again; all verified." in done.out


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (f"UPDATE cells SET eps = 0.3 WHERE id = {LINF}", "eps is stored as 0.3, and what it was made with says 0.2"),
        (f"UPDATE cells SET budget = 1 WHERE id = {LINF}", "its key is not that of what it says"),
        (f"UPDATE cells SET protocol = 2 WHERE id = {LINF}", "its key is not that of what it says"),
        (f"UPDATE cells SET protocol = 4 WHERE id = {LINF}", "judged by protocol 4, this advbench knows 1 to 3"),
        (f"UPDATE cells SET beyond_gradients = 1 WHERE id = {LINF}", "beyond_gradients is stored as 1"),
        ("UPDATE targets SET label = 'tank' WHERE label = 'toy'", "label is stored as tank"),
        ("UPDATE targets SET false_positive_rate = 0.2 WHERE threshold > -9", "its key is not that of what it says"),
        ("UPDATE targets SET draws = 3 WHERE draws = 9", "its key is not that of what it says"),
        ("UPDATE boards SET required = '[]' WHERE family = 'l2'", "its key is not that of what it says"),
        (f"UPDATE outcomes SET predicted = (predicted + 1) % 3 WHERE cell = {LINF}", "predicted "),
        (f"UPDATE outcomes SET size = 0 WHERE size > 0.1 AND cell = {LINF}", "size "),
        (
            "UPDATE outcomes SET predicted = (predicted + 1) % 3"
            " WHERE target = (SELECT id FROM targets WHERE randomised) AND example = 62",
            "example 62 on toy+gaussian-noise(sigma=0.05): predicted ",
        ),
        ("UPDATE certificates SET radius = 9", "a radius of 9 in l2 is not proved again"),
    ],
)
def test_what_was_changed_in_it_is_found(advbench: Advbench, old: Path, sql: str, words: str) -> None:
    with Store.open(old):
        pass  # brought up to date
    (row,) = rows(old, f"SELECT key FROM cells WHERE id = {LINF}")
    forge(old, sql)
    done = advbench("verify", row["key"], "--db", old)
    assert done.code == 1, done.out
    assert words in " ".join(done.out.split()), done.out


def test_a_weak_attack_under_the_name_of_the_strong_one_is_not_verified_for_being_old(
    advbench: Advbench, old: Path
) -> None:
    with Store.open(old):
        pass
    with Store.open(old, readonly=True) as store:
        (row,) = store.read(CellRow, f"SELECT {listed(CellRow)} FROM cells WHERE id = {LINF}")
    key = cell_key(replace(row, attack="pgd"))
    forge(old, f"UPDATE cells SET attack = 'pgd', key = '{key}' WHERE id = {LINF}")
    done = advbench("verify", key, "--db", old)
    assert done.code == 1
    out = " ".join(done.out.split())
    assert "name not checkable: it is called pgd, and today its parameters are called pgd(steps=3)" in out
    assert "1 could not be verified" in out
    assert "0 marks kept" in out


def test_words_that_another_version_chose_are_called_not_checkable(advbench: Advbench, old: Path) -> None:
    with Store.open(old):
        pass
    turned = "(SELECT id FROM cells WHERE family LIKE 'rotate-shift%' ORDER BY id LIMIT 1)"
    forge(old, f"UPDATE cells SET needs = 'everything' WHERE id = {LINF}")
    forge(old, f"UPDATE exhibits SET words = 'audited' WHERE cell = {turned}")
    out = " ".join(advbench("verify", "--no-mark", "--db", old).out.split())
    assert "not checkable what it was told: everything, and today's version tells it gradients" in out
    assert "words beside pictures not checkable" in out
    assert "862 verdicts and clean answers of 37 cells refereed again; 2 could not be verified." in out


def test_a_key_that_files_went_into_is_called_not_checkable_and_the_verdicts_are_refereed(
    advbench: Advbench, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from advbench_attacks.ddn import DDN

    monkeypatch.setattr(DDN, "content", lambda _: "another file than then")
    done = advbench("verify", "--db", old)
    assert done.code == 1
    out = " ".join(done.out.split())
    assert "its key is not checkable" in out
    assert "862 verdicts and clean answers of 37 cells refereed again; 8 could not be verified." in out
    assert "differs" not in out
    assert Attack.content is not DDN.content


def test_cells_of_today_gain_nothing_by_calling_themselves_old(
    advbench: Advbench, results: Results, tmp_path: Path
) -> None:
    db = results.copy(tmp_path)
    forge(db, "UPDATE cells SET protocol = 1", "UPDATE boards SET protocol = 1")
    rehash(db)
    assert "judged by protocol 1" in advbench("merge", tmp_path / "into.sqlite", db).complaint
    done = advbench("verify", "--no-mark", "--db", db)
    assert done.code == 1
    assert "24 cells refereed again; 28 could not be verified" in done.out  # and four targets


def test_nobody_takes_it_in_and_the_line_says_what_helps(advbench: Advbench, old: Path, results: Results) -> None:
    into = old.with_name("into.sqlite")
    words = "judged by protocol 1, this advbench judges by 3"
    assert words in advbench("merge", into, old).complaint
    with Store.open(old):
        pass
    assert f"{words}; results of different protocols never meet: run its suite again" in (
        advbench("merge", into, old).complaint
    )
    assert not into.exists()
    key = rows(old, "SELECT key FROM cells ORDER BY id LIMIT 1")[0]["key"]
    said = advbench("reproduce", key, "--db", old).complaint
    assert "was crafted by protocol 1, this advbench crafts by 3: `advbench verify` referees what is stored" in said
    assert advbench("merge", old, results.db).code == 0  # it may grow itself
    assert advbench("verify", "--db", old).code == 0


def test_a_run_says_in_one_line_what_it_crafts_again_and_boards_stay_apart(advbench: Advbench, old: Path) -> None:
    suite = old.with_name("two.yaml")
    before = rows(old, "SELECT * FROM robust_accuracy ORDER BY board, target")
    line = "1 cell is here by protocol 1 and crafted again by protocol 3, whose rules are others"
    done = advbench("run", suite, "--db", old)
    assert done.code == 0, done.out + done.err
    assert line in " ".join(done.out.split())
    assert "1 cells crafted, 0 kept" in done.out
    assert "unranked" not in done.out
    again = advbench("run", suite, "--db", old)
    assert "crafted again" not in again.out
    assert "0 cells crafted, 1 kept" in again.out
    boards = {row["key"]: row["protocol"] for row in rows(old, "SELECT * FROM boards")}
    after = rows(old, "SELECT * FROM robust_accuracy ORDER BY board, target")
    assert [row for row in after if boards[row["board"]] == 1] == before
    assert [row["target_label"] for row in after if boards[row["board"]] == 3] == ["toy"]


def test_a_run_of_something_else_says_nothing_of_old_cells(advbench: Advbench, old: Path) -> None:
    done = advbench("run", old.with_name("two.yaml"), "--seed", "7", "--db", old)
    assert done.code == 0
    assert "crafted again" not in done.out


def test_plans_are_measured_as_then_in_their_worst_place() -> None:
    threat = Wasserstein(1.0)
    x = torch.zeros(1, 1, 28, 28)
    x[:, 0, 10:12, 10:12] = 0.005
    p = threat.identity(x)
    p[0, threat.kernel**2 // 2] += 0.9e-5
    images = threat.apply(x, p)
    assert not measure(threat, x, p, images).inside
    assert measure(first_ball(threat), x, p, images).inside
    p[0, 0, 0, 0, 0] -= 1e-3
    assert not measure(first_ball(threat), x, p, images).inside
