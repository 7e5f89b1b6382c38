"""One's own databases joined as they are: everything comes along once, findings too."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_study import Toy

from advbench import AdvbenchError
from advbench.plugins.discovery import discover
from advbench.rates.studies import standing
from advbench.run.report import Reporter
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.content import content
from advbench.store.own import join_own
from advbench.store.study_rows import AnalysisRow, FindingRow, Found, add_analysis, found, performed
from advbench.studies.performance import outline, perform_study


def made(path: Path, *names: str) -> None:
    registry = discover()
    with Store.open(path) as store:
        for _ in names:
            perform_study(outline(Toy(), "smoke", registry), store, registry, lambda plan: Settings(), Reporter())


def told(store: Store) -> list[object]:
    keys = [one["key"] for one in store.rows("SELECT key FROM analyses ORDER BY key")]
    stood = [(one.row, one.at, one.analyses, one.published, one.claims) for one in performed(store)]
    return [content(store), [found(store, key) for key in keys], stood, store.rows("SELECT status FROM cell_events")]


def test_all_of_it_comes_along_once(tmp_path: Path) -> None:
    made(tmp_path / "toy.sqlite", "once")
    with Store.open(tmp_path / "all.sqlite") as into:
        # numbers of ours that are not theirs
        into.add_target(
            {
                "key": "0" * 64,
                "label": "x",
                "model": "x",
                "defenses": "none",
                "dataset": "x",
                "data_fingerprint": "0" * 64,
                "params": {"model": {}, "defenses": []},
            }
        )
        for _ in range(2):
            join_own(into, tmp_path / "toy.sqlite")
            with Store.open(tmp_path / "toy.sqlite", readonly=True) as origin:
                theirs, ours = told(origin), told(into)
                ours[0]["targets"] = [row for row in ours[0]["targets"] if row[0] != "0" * 64]  # type: ignore[index]
                assert ours == theirs
        (one,) = standing(into)
        assert one.count("outside") == 1
        assert into.rates("fooling")


def test_what_is_not_there_or_older_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "all.sqlite") as into:
        with pytest.raises(AdvbenchError, match="no such database"):
            join_own(into, tmp_path / "nowhere.sqlite")
        made(tmp_path / "toy.sqlite")
        with Store.open(tmp_path / "toy.sqlite") as older:
            older.connection.execute("PRAGMA user_version = 3")
        with pytest.raises(AdvbenchError, match="its schema is 3"):
            join_own(into, tmp_path / "toy.sqlite")
        assert into.rows("SELECT count(*) AS n FROM cells") == [{"n": 0}]


def performed_at(store: Store, at: str, key: str) -> None:
    store.insert(
        "studies",
        [
            {"id": None, "key": key * 64, "name": "toy", "level": "smoke", "at": at, "paper": {}, "page": {}}
            | {"origin": {}, "seed": 0, "command": None}
        ],
    )


def test_an_old_copy_joined_late_turns_nothing_back(tmp_path: Path) -> None:
    with Store.open(tmp_path / "old.sqlite") as old, Store.open(tmp_path / "new.sqlite") as new:
        performed_at(old, "2026-01-01T00:00:00.000+00:00", "a")
        performed_at(new, "2026-01-01T00:00:00.000+00:00", "a")
        performed_at(new, "2026-02-01T00:00:00.000+00:00", "b")
    with Store.open(tmp_path / "all.sqlite") as into:
        for name in ("new", "old", "new", "old"):
            join_own(into, tmp_path / f"{name}.sqlite")
        assert [one.row.key for one in performed(into)] == ["b" * 64]
        assert len(into.rows("SELECT id FROM studies")) == 2


def analysed(path: Path, value: float, name: str) -> None:
    with Store.open(path) as store:
        row = AnalysisRow("c" * 64, "a", "a", {}, {}, {}, 0, 1.0, None, None)
        add_analysis(store, row, Found([FindingRow(name, value, None, None, None, "")], [], []))


def test_what_two_machines_found_under_one_key_is_not_mixed(tmp_path: Path) -> None:
    analysed(tmp_path / "one.sqlite", 1.0, "first")
    analysed(tmp_path / "two.sqlite", 1.0001, "second")
    with Store.open(tmp_path / "one.sqlite") as into:
        join_own(into, tmp_path / "two.sqlite")
        assert [one.name for one in found(into, "c" * 64).findings] == ["first"]


def test_a_cell_that_was_finished_elsewhere_is_done_here(tmp_path: Path) -> None:
    made(tmp_path / "done.sqlite", "once")
    with Store.open(tmp_path / "half.sqlite") as into:
        join_own(into, tmp_path / "done.sqlite")
        into.connection.execute("DROP TRIGGER cell_events_no_delete")
        into.connection.execute("DELETE FROM cell_events")
        join_own(into, tmp_path / "done.sqlite")
        join_own(into, tmp_path / "done.sqlite")
        assert [into.cell_status(one.key) for one in into.cells()] == ["done", "done"]
        assert len(into.rows("SELECT id FROM cell_events")) == 2
