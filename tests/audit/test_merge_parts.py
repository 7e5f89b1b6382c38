"""Parts of one run join into what one run makes, whatever comes first; what a part says is doubted like all else."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from blobs import registry, suite
from conftest import Advbench, Results
from tampering import edit

from advbench.audit.merging import Arrival, Checking, merge
from advbench.audit.recrafting import Recrafting
from advbench.audit.verification import verify
from advbench.data import DataFolders
from advbench.run.part import Part
from advbench.run.report import Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content, marks, parts
from advbench.store.bulk import SOUND
from advbench.store.incoming import _harmless, open_incoming
from advbench.store.records import wrong
from advbench_attacks.fgsm import FGSM

NONE, AUTO = Recrafting(0), Recrafting()


def asked(**changes: Any) -> Any:
    return suite(
        **{"attacks": ["noise", "fgsm", "for-all"], "threats": ["linf(eps=0.2)"], "goals": ["untargeted", "each"]}
        | changes
    )


def evaluate(path: Path, wanted: Any, part: Part | None = None) -> Summary:
    with Store.open(path) as store:
        return run(wanted, store, registry(), Settings(share=part))


def made(folder: Path, count: int = 3, **changes: Any) -> list[Path]:
    """The databases of all parts."""
    paths = [folder / f"part-{number}.sqlite" for number in range(1, count + 1)]
    for number, path in enumerate(paths, 1):
        assert evaluate(path, asked(**changes), Part(number, count)).failed == []
    return paths


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three parts; nobody writes to them."""
    return made(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "whole.sqlite"
    evaluate(path, asked())
    return path


def join(into: Path, paths: Iterable[Path], check: int | None = 0, again: Recrafting = NONE) -> list[Arrival]:
    arrivals = []
    checking = Checking(registry(), DataFolders.default(), torch.device("cpu"), check, again, parts=True)
    with Store.open(into) as store:
        for path in paths:
            with open_incoming(path) as origin:
                arrivals += list(merge(store, origin, path.name, checking))
    return arrivals


def facts(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(path, readonly=True) as store:
        return content(store)


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def said(path: Path) -> list[str]:
    with Store.open(path, readonly=True) as store:
        return list(parts.said(store))


def rates(path: Path) -> list[str]:
    with Store.open(path, readonly=True) as store:
        views = ("robust_accuracy", "fooling", "transfer", "clean_accuracy")
        return sorted(repr(sorted(row.items())) for view in views for row in store.rates(view))


def test_of_others_no_cell_comes_in_of_which_only_some_shards_are_there(pieces: list[Path], tmp_path: Path) -> None:
    checking = Checking(registry(), DataFolders.default(), torch.device("cpu"), 0, NONE)
    into = tmp_path / "all.sqlite"
    with Store.open(into) as store, open_incoming(pieces[0]) as origin:
        arrivals = list(merge(store, origin, "part", checking))
        cut = [arrival for arrival in arrivals if arrival.status == "unfinished"]
        assert cut
        assert all("--parts takes parts" in arrival.reasons[0] for arrival in cut)
        # cells with one perturbation for all are whole in one part
        assert {arrival.status for arrival in arrivals} <= {"unfinished", "taken"}
        assert all(store.cell_status(row["key"]) == "done" for row in store.rows("SELECT key FROM cells"))
        assert not parts.held(store)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(order, marks=[pytest.mark.exhaustive] * (order not in ((0, 1, 2), (2, 0, 1), (1, 2, 0))))
        for order in itertools.permutations(range(3))
    ],
    ids=str,
)
def test_in_any_order_parts_make_what_one_run_makes(
    pieces: list[Path], whole: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    into = tmp_path / "all.sqlite"
    for place, number in enumerate(order):
        assert {arrival.status for arrival in join(into, [pieces[number]])} == {"taken"}
        absent = [f"{one + 1}/3" for one in range(3) if one not in order[: place + 1]]
        are = f"s {absent[0]}, {absent[-1]} are" if len(absent) > 1 else f" {absent[0]} is" if absent else ""
        assert said(into) == ([f"suite: part{are} not here."] if absent else [])
    assert facts(into) == facts(whole)
    assert rates(into) == rates(whole)
    summary = evaluate(into, asked())
    assert (summary.done, summary.kept, summary.failed) == (0, 24, [])
    assert facts(into) == facts(whole)


def test_a_part_that_comes_twice_changes_nothing(pieces: list[Path], tmp_path: Path) -> None:
    into = tmp_path / "all.sqlite"
    join(into, pieces[:2])
    before = dump(into)
    assert {arrival.status for arrival in join(into, [pieces[1], pieces[0]])} == {"there"}
    assert dump(into) == before
    join(into, pieces[2:])
    before = dump(into)
    assert {arrival.status for arrival in join(into, pieces)} == {"there"}
    assert dump(into) == before


def test_parts_join_as_a_tree(pieces: list[Path], whole: Path, tmp_path: Path) -> None:
    two, three, into = (tmp_path / f"{name}.sqlite" for name in ("two", "three", "all"))
    join(two, pieces[:2])
    join(three, pieces[2:])
    join(into, [three, two])
    assert facts(into) == facts(whole)
    assert said(into) == []


def test_a_run_of_all_makes_up_for_parts_that_never_came(pieces: list[Path], whole: Path, tmp_path: Path) -> None:
    into = tmp_path / "all.sqlite"
    join(into, [pieces[0], whole])
    assert said(into) == []
    other = tmp_path / "other.sqlite"
    join(other, pieces[1:])
    assert evaluate(other, asked()).failed == []
    assert said(other) == []
    assert facts(into) == facts(other) == facts(whole)


def test_a_part_is_refereed_and_crafted_again_like_any_other(pieces: list[Path], whole: Path, tmp_path: Path) -> None:
    into = tmp_path / "all.sqlite"
    arrivals = join(into, pieces, None, AUTO)
    assert {arrival.status for arrival in arrivals} == {"crafted", "taken"}
    assert all(arrival.refereed for arrival in arrivals if arrival.status == "taken")
    assert any("of its shards: fools" in reason for arrival in arrivals for reason in arrival.reasons)
    assert facts(into) == facts(whole)
    with Store.open(into) as store:
        cells = store.cells()
        assert marks.marks(store).keys() == {cell.key for cell in cells}, "all of each was refereed"
        assert all(
            result.sound
            for result in verify(store, registry(), cells, folders=DataFolders.default(), device=torch.device("cpu"))
        )


def test_what_was_refereed_in_part_is_not_marked_as_verified(pieces: list[Path], tmp_path: Path) -> None:
    into = tmp_path / "all.sqlite"
    join(into, pieces[:2], None)
    join(into, pieces[2:], 0)
    with Store.open(into) as store:
        apart = {cell.key for cell in store.cells() if not cell.fit}
        assert not apart & marks.marks(store).keys()
        assert {store.imports(key)[-1].refereed for key in apart} == {0}
    other = tmp_path / "other.sqlite"
    join(other, pieces[:1], 0)
    join(other, pieces[1:], None)
    with Store.open(other) as store:
        several = {key for key in apart if len(store.imports(key)) == 3}
        assert several
        assert not several & marks.marks(store).keys()
        assert {store.imports(key)[-1].refereed for key in several} == {0}
        assert not any(one.crafted for key in several for one in store.imports(key))


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE outcomes SET predicted = (predicted + 1) % 3", "predicted"),
        ("DELETE FROM outcomes WHERE example = (SELECT min(example) FROM outcomes)", "is not stored"),
        ("UPDATE shards SET first = first + 1 WHERE shard > 0", "does not lie where the others have it"),
        ("DELETE FROM judgements", "was not judged on its own target"),
        ("UPDATE outcomes SET predicted = 10000000", "outcomes.predicted must be"),
        ("UPDATE outcomes SET violation = 'red \x1b[31m'", "violation"),
    ],
)
def test_what_somebody_altered_in_a_part_stays_out_and_the_part_is_not_here(
    pieces: list[Path], tmp_path: Path, sql: str, words: str
) -> None:
    altered, into = tmp_path / "altered.sqlite", tmp_path / "all.sqlite"
    altered.write_bytes(pieces[0].read_bytes())
    altered.with_suffix(".artifacts").symlink_to(pieces[0].with_suffix(".artifacts"))
    edit(altered, sql)
    arrivals = join(into, [altered, pieces[1]], None)
    refused = [arrival for arrival in arrivals if arrival.status == "rejected"]
    assert any(words in reason for arrival in refused for reason in arrival.reasons), arrivals
    assert said(into) == ["suite: parts 1/3, 3/3 are not here."]
    with Store.open(into) as store:
        assert all(
            result.sound
            for result in verify(
                store, registry(), store.cells(), folders=DataFolders.default(), device=torch.device("cpu")
            )
        )


def test_a_part_that_says_something_else_than_what_is_here_is_a_conflict(pieces: list[Path], tmp_path: Path) -> None:
    altered, into = tmp_path / "altered.sqlite", tmp_path / "all.sqlite"
    altered.write_bytes(pieces[0].read_bytes())
    altered.with_suffix(".artifacts").symlink_to(pieces[0].with_suffix(".artifacts"))
    edit(altered, "UPDATE outcomes SET predicted = (predicted + 1) % 3")
    join(into, pieces)
    before = dump(into)
    assert {arrival.status for arrival in join(into, [altered])} == {"conflict"}
    assert dump(into) == before


def test_weak_perturbations_under_a_strong_name_keep_a_part_out(
    pieces: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verdict on them is right; only crafting them again tells."""
    weak, into = tmp_path / "weak.sqlite", tmp_path / "all.sqlite"
    wanted = asked(attacks=["fgsm(travel=3)"], threats=["linf(eps=0.3)"], goals=["untargeted"])
    with monkeypatch.context() as patch:
        patch.setattr(FGSM, "perturb", lambda attack, problem: problem.start())
        evaluate(weak, wanted, Part(1, 3))
    arrivals = join(into, [weak], None, AUTO)
    assert {arrival.status for arrival in arrivals} == {"differs", "rejected"}
    with Store.open(into) as store:
        assert store.cells() == []
        assert parts.held(store) == []


def test_a_part_cut_into_other_shards_is_a_conflict(pieces: list[Path], tmp_path: Path) -> None:
    into = tmp_path / "all.sqlite"
    join(into, pieces[:1])
    for number in (1, 2, 3):
        evaluate(tmp_path / "other.sqlite", asked(shard=5, attacks=["noise"]), Part(number, 3))
        arrivals = join(into, [tmp_path / "other.sqlite"])
        assert "it is cut into other shards here" in " ".join(arrivals[0].reasons)
    assert said(into)[0] == "suite: parts 2/3, 3/3 are not here."


def test_a_cell_that_failed_and_was_tried_again_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = asked(attacks=["fgsm"], goals=["untargeted"])
    real = FGSM.perturb
    paths = [tmp_path / f"{number}.sqlite" for number in (1, 2)]
    into = tmp_path / "all.sqlite"
    for number, path in enumerate(paths, 1):
        with monkeypatch.context() as patch:

            def fails(attack: FGSM, problem: Any) -> Any:
                if 10 in problem.draws.ids.tolist():
                    raise ValueError("no such luck")
                return real(attack, problem)

            patch.setattr(FGSM, "perturb", fails)
            evaluate(path, wanted, Part(number, 2))
    join(into, paths)
    with Store.open(into) as store:
        assert {status for _, status, _ in content(store)["states"]} == {"failed"}
    for number, path in enumerate(paths, 1):
        assert evaluate(path, wanted, Part(number, 2)).failed == []
    join(into, paths)
    evaluate(tmp_path / "whole.sqlite", wanted)
    assert facts(into) == facts(tmp_path / "whole.sqlite")


def test_the_command_says_which_part_came_and_which_is_missing(
    advbench: Advbench, few: Results, tmp_path: Path
) -> None:
    into = tmp_path / "all.sqlite"
    for number in (1, 2):
        assert advbench("run", few.suite, "--part", f"{number}/2", "--db", tmp_path / f"{number}.sqlite").code == 0
    one = advbench("merge", "--parts", into, tmp_path / "1.sqlite", "--check", "1", "--reproduce", "none")
    assert one.code == 0
    assert "1.sqlite (part 1/2 of few): 2 cells taken (1 of them refereed again), 0 there already." in one.out
    assert "few: part 2/2 is not here." in one.out
    assert "few: part 2/2 is not here." in advbench("show", "--db", into).out
    both = advbench("merge", "--parts", into, tmp_path / "1.sqlite", tmp_path / "2.sqlite")
    assert both.code == 0, both.out
    assert "0 cells taken (0 of them refereed again), 2 there already." in both.out
    assert "not here" not in both.out
    assert facts(into) == facts(few.db)
    assert "0 cells crafted, 2 kept" in advbench("run", few.suite, "--db", into).out


ODD = [
    None,
    -(2**63),
    -2,
    -1,
    0,
    1,
    2,
    5,
    10**6,
    10**6 + 1,
    10**9,
    10**9 + 1,
    2**63 - 1,
    -0.5,
    0.0,
    0.5,
    1.0,
    1.001,
    1.1,
]
ODD += [1e300, float("inf"), -float("inf"), "", "a", "a b~", "a" * 200, "a" * 201, "a" * 2001, "\x1b[31m", "a\0b", "ä"]
ODD += ["\x7f", "\t", b"", b"a", b"\xff"]


@pytest.mark.parametrize("table", SOUND)
def test_what_is_copied_unseen_would_have_passed_a_closer_look(table: str) -> None:
    passed = 0
    with closing(sqlite3.connect(":memory:")) as connection:
        for column, sound in SOUND[table].items():
            for value in ODD:
                (good,) = connection.execute(f"SELECT {sound} FROM (SELECT ? AS {column})", [value]).fetchone()
                if good:
                    passed += 1
                    assert wrong(table, {column: value}) == ""
                    assert _harmless(value, column) == value
    assert passed >= 5
    with Store.memory() as store:
        columns = {row["name"] for row in store.rows(f"PRAGMA table_info({table})")}
    assert columns - {"cell", "target"} == set(SOUND[table])
