"""A large leaderboard stays readable: pages of bounded size, and what grows is read only where it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from scale import generate
from site_facts import fill

from advbench.store import Store
from advbench_leaderboard import changes
from advbench_leaderboard.render import FOLDERS, files, render
from advbench_leaderboard.site import Site, opened

LARGEST = 500_000


@pytest.mark.slow
def test_no_page_of_forty_targets_and_forty_attacks_is_too_large(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        generate(store, boards=2, targets=40, attacks=40, examples=20, transfer=False)
    with opened(tmp_path / "results.sqlite", FOLDERS) as site:
        sizes = {
            path: len(data) for path, data in files(site, changes.remembered(changes.facts(site), {}), pytest.fail)
        }
    pages = {path: size for path, size in sizes.items() if path.endswith((".html", ".css", ".js"))}
    assert {path: size for path, size in pages.items() if size > LARGEST} == {}
    assert max(pages.values()) > 200_000  # it was a large one


def test_a_new_cell_rewrites_its_own_board_and_no_other(tmp_path: Path) -> None:
    database, root = tmp_path / "results.sqlite", tmp_path / "site"
    with Store.open(database) as store:
        generate(store, boards=2, targets=3, attacks=3, examples=20, transfer=False)
    render(database, root)
    before = {path: path.stat().st_ino for path in root.rglob("*.*")}
    with Store.open(database) as store:
        cell = store.rows("SELECT * FROM cells WHERE key = 'c0.0.0'")[0]
        store.add_cell({**cell, "id": None, "key": "new", "attack": "another"})
        rows = [{"example": e, "reached": 0, "predicted": e % 10, "size": 0.1} for e in range(20)]
        store.add_shard("new", {"shard": 0, "first": 0, "count": 20, "run": "run"}, {"t0": rows})
        store.add_event("new", "run", "done")
    render(database, root)
    changed = {path for path, inode in before.items() if path.stat().st_ino != inode}
    boards = {path.parent.name: path.name for path in changed if path.parent.name in ("boards", "compare")}
    assert [name.rpartition("-")[0] for name in boards.values()] == ["digits-linf-0"] * 2
    kept = {path.relative_to(root).as_posix() for path in before.keys() - changed}
    assert {"index.html", "state.json"}.isdisjoint(kept)
    assert {"metrics.html", "threats.html", "transfer.html"} <= kept  # which show no cell that is not required


@pytest.fixture
def database(tmp_path: Path) -> Path:
    fill(tmp_path / "results.sqlite")
    return tmp_path / "results.sqlite"


def test_pages_can_ask_for_what_belongs_together(database: Path) -> None:
    with opened(database) as site:
        (board,) = site.boards
        assert [b.key for b in site.boards_of("plain-cw")] == ["board"]
        assert [(b.key, e.rank) for b, e in site.entries_of("plain")] == [("board", 4)]
        assert [(one.source, one.target, one.fooled) for one in site.transfer("board")] == [("plain", "strong", 36)]
        assert site.description_of("attack", "pgd(steps=3)").summary == "Steps"  # the plugin's, whatever the parameters
        assert site.description_of("attack", "unknown").summary == ""
        assert [curve.target for curve in site.curves(board)] == ["strong", "plain"]
        assert board.right["strong"].bit_count() == 36


def test_links_are_different_for_different_things(database: Path) -> None:
    with opened(database) as site:
        files = links(site)
    assert len(set(files)) == len(files)
    assert all(not file.startswith("/") and ".." not in file for file in files)


def links(site: Site) -> list[str]:
    return [
        *(find(board.key) for board in site.boards for find in (site.board_file, site.compare_file)),
        *(site.target_file(key) for key in site.targets),
        *(site.attack_file(label) for label in site.attacks),
        *(site.cell_file(key) for key in site.cells),
    ]
