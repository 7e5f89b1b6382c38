"""One network stands on a board once: by the sources, versions and revisions that it was asked by last."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Advbench, Results

from advbench import evaluate, revisions
from advbench.plugin import Attack, Model, Plugin
from advbench.plugins.origin import Origin
from advbench.plugins.registry import Registry
from advbench.rates import earlier
from advbench.store import Store
from advbench.store.views import VIEWS
from advbench.testing.stage import StageNet, images
from advbench_leaderboard.render import render
from advbench_leaderboard.site import gather, opened

SET = {"data_fingerprint": "data", "examples": "set", "count": 4, "threat": "linf", "family": "linf", "protocol": 2}
ORIGIN = {"distribution": "acme", "version": "1", "digest": "old"}


@contextmanager
def another_source(kind: type[Plugin], digest: str = "0" * 64) -> Iterator[None]:
    """Plugins of a kind say that they come from another source."""
    real = Registry.origin

    def origin(registry: Registry, plugin: Plugin) -> Origin:
        found = real(registry, plugin)
        return replace(found, digest=digest) if isinstance(plugin, kind) else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "origin", origin)
        yield


def target(store: Store, key: str, **more: Any) -> None:
    row = {"key": key, "label": "net", "model": "net", "defenses": "none", "dataset": "digits", "weights_sha256": "w"}
    row |= {"params": {"model": {"weights": "", "width": 3}, "defenses": [{}]}, "data_fingerprint": "data"}
    row |= {"origins": {"model": {**ORIGIN, "digest": key}, "defenses": [ORIGIN], "dataset": ORIGIN}}
    store.add_target({**row, **more})
    store.add_clean(key, [{"example": e, "label": 0, "predicted": 0, "confidence": 0.9} for e in range(4)])


def crafted(store: Store, key: str, source: str, fooled: int, *, on: tuple[str, ...] = (), **more: Any) -> None:
    row = {"key": key, "dataset": "digits", "attack": "pgd", "source": source, "eps": 0.3, "goal": "untargeted"}
    store.add_cell({**SET, **row, "stop": "first", "seed": 0, **more})
    rows = [{"example": e, "predicted": int(e < fooled), "reached": e < fooled, "size": 0.1} for e in range(4)]
    store.add_shard(key, {"shard": 0, "first": 0, "count": 4, "run": "run"}, dict.fromkeys((source, *on), rows))
    store.add_event(key, "run", "done")


@pytest.fixture
def store() -> Iterator[Store]:
    """`other` is another network; `new` is the one that `old` is, and has been asked about linf/0.3 alone."""
    with Store.memory() as store:
        store.begin_run({"id": "run", "seed": 0, "protocol": 2})
        store.add_dataset(
            {"fingerprint": "data", "label": "digits", "classes": ["0", "1"], "shape": [1, 2, 2], "count": 4}
        )
        store.add_examples("set", range(4))
        for eps in (0.1, 0.3):
            board = {"key": f"b{eps}", "name": f"digits/linf/{eps}", "dataset": "digits", "eps": eps}
            store.add_board({**SET, **board, "required": ["pgd"]})
        target(store, "old")
        target(store, "other", weights_sha256="v", label="other")
        crafted(store, "other-pgd", "other", 1, on=("old",))
        crafted(store, "old-pgd", "old", 2, on=("other",))
        crafted(store, "old-pgd-0.1", "old", 1, eps=0.1)
        target(store, "new")
        crafted(store, "new-pgd", "new", 3, on=("other",))
        yield store


def listed(store: Store, board: str = "b0.3") -> set[str]:
    return {row["target"] for row in store.rates("robust_accuracy", board)}


def test_no_view_lists_a_network_twice_on_a_board(store: Store) -> None:
    with store.tallied():
        tallied = {view: store.rates(view) for view in VIEWS}
    for view in VIEWS:
        assert store.rates(view) == tallied[view]
    for view in ("robust_accuracy", "clean_accuracy", "robust_examples", "attack_accuracy"):
        assert {row["target"] for row in store.rates(view, "b0.3")} == {"new", "other"}, view
    for view in ("fooling", "sizes"):
        assert {row["source"] for row in store.rates(view, "b0.3")} == {"new", "other"}, view
    assert {(row["source"], row["target"]) for row in store.rates("transfer", "b0.3")} == {("new", "other")}
    assert store.robust_examples("b0.3")["new"] == {0: False, 1: False, 2: False, 3: True}


def test_a_board_that_the_newest_was_never_asked_about_keeps_the_one_that_was(store: Store) -> None:
    assert listed(store, "b0.1") == {"old", "other"}
    assert [(row["board"], row["target"], row["standing"]) for row in store.rates("earlier")] == [
        ("b0.3", "old", "new")
    ]


def test_what_is_asked_for_again_stands_again(store: Store) -> None:
    store.add_event("old-pgd", "run", "done")
    assert listed(store) == {"old", "other"}
    (row,) = store.rates("earlier")
    assert (row["target"], row["clean_right"], row["right"], row["n"]) == ("new", 4, 1, 4)


def test_a_lineage_is_weights_parameters_and_data(store: Store) -> None:
    params = {"model": {"weights": "elsewhere/w.npz", "width": 3}, "defenses": [{}]}
    target(store, "moved", params=params, model="net(weights=elsewhere/w.npz)")  # the same file in another folder
    target(store, "drawn", draws=5, randomised=1)
    others = {
        "wider": {"params": {"model": {"weights": "", "width": 4}, "defenses": [{}]}},
        "defended": {"defenses": "jpeg"},
        "named": {"model": "mesh"},
        "trained": {"weights_sha256": "u"},
        "stricter": {"threshold": 0.5, "false_positive_rate": 0.01},
        "unknown": {"weights_sha256": None},
        "unknown too": {"weights_sha256": None},
    }
    for key, more in others.items():
        target(store, key, **more)
    found: dict[str, list[str]] = {}
    for row in store.rates("lineages"):
        found.setdefault(row["lineage"], []).append(row["target"])
    assert sorted(map(sorted, found.values())) == sorted(
        [["drawn", "moved", "new", "old"], ["other"], *([key] for key in others)]
    )


def test_a_default_that_has_changed_makes_no_other_lineage(store: Store) -> None:
    params = {"model": {"weights": "", "width": 3}, "defenses": [{"eps": 0.1}, {"rate": 1e5}]}
    target(store, "before", defenses="jpeg+noise(rate=1e+05)", params=params)
    target(store, "after", defenses="jpeg(eps=0.1)+noise(rate=1e+05)", params=params)
    found = {row["target"]: row["lineage"] for row in store.rates("lineages")}
    assert found["before"] == found["after"]


def test_targets_of_another_protocol_replace_nothing(store: Store) -> None:
    target(store, "third")
    crafted(store, "third-pgd", "third", 4, protocol=3)
    assert listed(store) == {"new", "other"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "another source of net"),
        (
            {"origins": {"model": {**ORIGIN, "digest": "x", "version": "2"}, "defenses": [ORIGIN], "dataset": ORIGIN}},
            "another source of net (1 instead of 2)",
        ),
        (
            {"origins": {"model": {**ORIGIN, "distribution": "evil"}, "defenses": [ORIGIN], "dataset": ORIGIN}},
            "net of acme instead of evil",
        ),
    ],
)
def test_it_is_said_what_differs(store: Store, more: dict[str, Any], words: str) -> None:
    target(store, "newest", **more)
    crafted(store, "newest-pgd", "newest", 0)
    said = {one.target: one.differs for one in earlier.earlier_targets(store)}
    assert said["old"] == words
    rows = {row.key: row for row in store.targets()}
    assert earlier.differs(rows["old"], rows["old"]) == "another revision of the core, or other held-out images"
    assert earlier.differs(replace(rows["old"], draws=1), replace(rows["old"], draws=5)) == "1 draws instead of 5"


def test_an_evaluation_keeps_its_numbers_when_its_network_is_asked_again(tmp_path: Path) -> None:
    net = StageNet((1, 8, 8)).eval()
    x = images(12, (1, 8, 8))
    more: dict[str, Any] = {"attacks": ["noise"], "db": tmp_path / "results.sqlite"}
    first = evaluate(net, x, net(x).argmax(1), threats=["linf(eps=0.05)", "l2(eps=0.5)"], **more)
    known = first.robust_accuracy
    with another_source(Model):
        second = evaluate(net, x, net(x).argmax(1), threats="linf(eps=0.05)", **more)
    assert first.robust_accuracy == known
    assert first.clean_accuracy == second.clean_accuracy == 1.0
    assert second.robust_accuracy == {"given/linf/0.05": known["given/linf/0.05"]}
    listed = {row["board_name"]: row["target"] for row in second.store.rates("robust_accuracy")}
    assert {name: [target] for name, target in listed.items()} == {
        "given/linf/0.05": list(second.targets),
        "given/l2/0.5": list(first.targets),
    }
    assert len(second.store.rates("robust_accuracy")) == 2


# What a reader, a runner and a host see of it


@pytest.fixture(scope="module")
def twice(advbench: Advbench, results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results, and all of it again with another source of the models; what the run said lies beside it."""
    path = results.copy(tmp_path_factory.mktemp("twice"))
    with another_source(Model):
        done = advbench("run", results.suite, "--db", path)
    assert done.code == 0, done.out + done.err
    path.with_suffix(".txt").write_text(done.out)
    return path


def rates(path: Path, view: str) -> list[str]:
    with Store.open(path, readonly=True) as store:
        return sorted(map(repr, store.rates(view)))


def standing(path: Path) -> set[tuple[str, str]]:
    with Store.open(path, readonly=True) as store:
        return {(row["board"], row["target"]) for row in store.rates("robust_accuracy")}


def test_a_run_says_in_one_line_that_a_source_has_changed(
    advbench: Advbench, results: Results, twice: Path, tmp_path: Path
) -> None:
    said = " ".join(twice.with_suffix(".txt").read_text().split())
    assert "24 cells are here, crafted with another source of toy, and crafted again" in said
    path = results.copy(tmp_path)
    assert "crafted again" not in advbench("run", results.suite, "--db", path).out
    with another_source(Attack):
        done = advbench("run", results.suite, "--db", path)
    said = " ".join(done.out.split())
    assert "24 cells are here, crafted with another source of " in said
    assert "another source of noise" in said
    assert "another source of pgd" in said


@pytest.mark.parametrize(
    ("area", "count", "words"),
    [("linf", 8, "an earlier revision of linf"), ("target", 24, "another revision of its target")],
)
def test_a_run_says_in_one_line_that_a_revision_was_raised(
    advbench: Advbench, results: Results, tmp_path: Path, area: str, count: int, words: str
) -> None:
    path = results.copy(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(revisions.REVISIONS, area, 2)
        done = advbench("run", results.suite, "--db", path)
        again = advbench("run", results.suite, "--db", path)
    assert f"{count} cells are here, crafted with {words}, and crafted again" in " ".join(done.out.split())
    assert "crafted again" not in again.out


def test_show_lists_a_network_once_and_says_in_a_line_which_is_earlier(
    advbench: Advbench, results: Results, twice: Path
) -> None:
    assert len(standing(twice)) == len(standing(results.db))
    assert standing(twice).isdisjoint(standing(results.db))
    out = " ".join(advbench("show", "--db", twice).out.split())
    with Store.open(twice, readonly=True) as store:
        boards = len(store.boards())
    assert out.count("earlier, not in the table since the same network is: toy") == boards
    assert out.count("(another source of toy)") == boards
    assert "earlier" not in advbench("show", "--db", results.db).out
    with Store.open(twice, readonly=True) as store:
        placed = store.rates("board_cells")
    cells = advbench("show", "--db", twice, "--cells").out
    assert " ".join(cells.split()).count("earlier") == sum(not row["stands"] for row in placed)
    early = next(row["cell"] for row in placed if not row["stands"])
    assert "lists the same network as another target" in " ".join(advbench("show", early, "--db", twice).out.split())


def test_a_merge_pushes_no_network_off_its_boards(
    advbench: Advbench, results: Results, twice: Path, tmp_path: Path
) -> None:
    into = results.copy(tmp_path)
    before = {view: rates(into, view) for view in ("robust_accuracy", "fooling", "transfer", "clean_accuracy")}
    assert advbench("merge", into, twice, "--check", "none").code == 0
    assert {view: rates(into, view) for view in before} == before
    with Store.open(into, readonly=True) as store:
        assert len(store.rows("SELECT * FROM cells")) == 48
        assert {row["target"] for row in store.rates("earlier")} == {target for _, target in standing(twice)}


def test_where_nothing_stood_a_merge_keeps_the_order(advbench: Advbench, twice: Path, tmp_path: Path) -> None:
    into = tmp_path / "into.sqlite"
    assert advbench("merge", into, twice, "--check", "none").code == 0
    assert standing(into) == standing(twice)
    again = tmp_path / "again.sqlite"
    shutil.copy(into, again)
    shutil.copytree(into.with_suffix(".artifacts"), again.with_suffix(".artifacts"))
    assert advbench("merge", again, twice, "--check", "none").code == 0
    assert standing(again) == standing(twice)


def test_what_failed_and_is_handed_in_done_changes_no_order(
    advbench: Advbench, results: Results, twice: Path, tmp_path: Path
) -> None:
    into = tmp_path / "into.sqlite"
    shutil.copy(twice, into)
    shutil.copytree(twice.with_suffix(".artifacts"), into.with_suffix(".artifacts"))
    with Store.open(into) as store:
        last = store.rows("SELECT c.key FROM cell_events e JOIN cells c ON c.id = e.cell ORDER BY e.id DESC LIMIT 1")
        store.add_event(last[0]["key"], None, "failed", "out of memory")
    assert advbench("merge", into, results.db, twice, "--check", "none").code == 0
    assert standing(into) == standing(twice)
    with Store.open(into, readonly=True) as store:
        assert {row["status"] for row in store.rates("cell_state")} == {"done"}


def test_the_site_lists_a_network_once_and_keeps_the_earlier_one_below(
    results: Results, twice: Path, tmp_path: Path
) -> None:
    render(results.db, tmp_path)
    render(twice, tmp_path)
    assert "was asked again: robust accuracy" in (tmp_path / "index.html").read_text()
    assert " is gone" not in (tmp_path / "index.html").read_text()
    render(results.db, tmp_path / "before")
    boards = sorted((tmp_path / "boards").glob("*.html"))
    assert len(boards) == len(list((tmp_path / "before/boards").glob("*.html"))) == 2
    for path in boards:
        page = path.read_text()
        above, _, below = page.partition('<table id="superseded">')
        rows = below.partition("</table>")[0]
        assert above.count('<td class="rank">') == (tmp_path / "before/boards" / path.name).read_text().count(
            '<td class="rank">'
        )
        assert rows.count("another source of toy") == above.count('<td class="rank">')
        assert 'id="superseded"' not in (tmp_path / "before/boards" / path.name).read_text()
    with Store.open(twice, readonly=True) as store:
        labels = {row.key: row.label for row in store.targets()}
        late, early = ({row[name] for row in store.rates("earlier")} for name in ("standing", "target"))
    pages = {path.name.rpartition("-")[0]: path.read_text() for path in (tmp_path / "targets").glob("*.html")}
    assert len(pages) == len(labels)
    told = [page for page in pages.values() if "Superseded by" in page]
    assert len(told) == len(early)
    assert all("made with another source of toy" in page for page in told)
    assert all("It stands on no board any more." in page for page in told)
    with opened(twice) as site:
        # of namesakes the network that boards list keeps its name
        assert {site.targets[key].label for key in late} == {labels[key] for key in late}
        assert {site.targets[key].label for key in early} == {f"{labels[key]} #{key[:8]}" for key in early}
        stand = {cell.source for cell in site.cells.values() if site.standing(cell) == "done"}
        assert stand == late
    with (tmp_path / "data/earlier.csv").open(newline="") as file:
        rows_of = list(csv.DictReader(file))
    assert {row["target"] for row in rows_of} == early
    assert {row["standing"] for row in rows_of} == late
    assert {row["differs"] for row in rows_of} == {"another source of toy"}


def test_curves_are_those_of_the_targets_that_a_board_lists(store: Store, tmp_path: Path) -> None:
    store.add_cell(
        {**SET, "key": "cw", "dataset": "digits", "attack": "cw", "source": "old", "eps": None, "minimizes": 1}
        | {"goal": "untargeted", "stop": "first", "seed": 0}
    )
    rows = [{"example": e, "predicted": 1, "reached": 1, "size": 0.2} for e in range(4)]
    store.add_shard("cw", {"shard": 0, "first": 0, "count": 4, "run": "run"}, {"old": rows})
    store.add_event("cw", "run", "done")
    crafted(store, "new-pgd-again", "new", 3, attack="pgd", stop="end")
    with store.tallied():
        site = gather(store, "results.sqlite")
        listed = {board.key: {curve.target for curve in site.curves(board)} for board in site.boards}
    assert listed == {"b0.1": {"old"}, "b0.3": set()}


def test_a_board_says_when_its_cells_were_made_with_several_states_of_the_core(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    for key, digest in (("first", "a" * 64), ("second", "b" * 64)):
        store.begin_run({"id": key, "seed": 0, "protocol": 2, "versions": {"core": digest}})
    rows = [{"example": e, "predicted": 0, "reached": 0, "size": 0.1} for e in range(4)]

    def again(key: str, run: str) -> None:
        row = {"key": key, "dataset": "digits", "attack": key, "source": "new", "eps": 0.3, "goal": "untargeted"}
        store.add_cell({**SET, **row, "stop": "first", "seed": 0})
        store.add_shard(key, {"shard": 0, "first": 0, "count": 4, "run": run}, {"new": rows})
        store.add_event(key, run, "done")

    def cores() -> dict[str, dict[str, int]]:
        with store.tallied():
            return {board.key: dict(board.cores) for board in gather(store, "results.sqlite").boards}

    assert cores() == {"b0.1": {"": 1}, "b0.3": {"": 2}}  # which no run says
    again("fgsm", "first")
    again("noise", "second")
    again("ddn", "second")
    assert cores() == {"b0.1": {"": 1}, "b0.3": {"": 2, "a" * 64: 1, "b" * 64: 2}}
    store.connection.execute("VACUUM INTO ?", (str(path),))
    render(path, tmp_path / "site")
    with opened(path) as site:
        pages = {board.key: (tmp_path / "site" / site.board_file(board.key)).read_text() for board in site.boards}
    line = f'<code title="{"b" * 64}">{"b" * 16}</code> 2 cells'
    assert line in pages["b0.3"]
    assert "States of the core" not in pages["b0.1"]
    provenance = (tmp_path / "site/provenance.html").read_text()
    assert line in provenance.partition('id="core-states"')[2]
