"""A run cut into parts: each does what is its own, together they do all of it once, and a cell is done when all is."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blobs import Trained, registry, suite
from conftest import ROOT, Advbench, Results
from processes import Child, script

from advbench import StoredPerturbations
from advbench.engines.processes import Processes
from advbench.errors import AdvbenchError
from advbench.run.part import Part, part_of
from advbench.run.report import Reporter, Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content, parts


def asked(**changes: Any) -> Any:
    return suite(**{"attacks": ["noise", "fgsm", "for-all"], "threats": ["linf(eps=0.2)", "rotate-shift"], **changes})


def evaluate(store: Store, wanted: Any, part: Part | None = None, **settings: Any) -> Summary:
    return run(wanted, store, registry(), replace(Settings(share=part), **settings))


def crafted(store: Store) -> Counter[tuple[str, int]]:
    rows = store.rows("SELECT c.key, s.shard FROM shards s JOIN cells c ON c.id = s.cell")
    return Counter((row["key"], row["shard"]) for row in rows)


def statuses(store: Store) -> set[str]:
    return {row["status"] for row in store.rows("SELECT status FROM cell_state")}


def test_the_rule_by_which_shards_are_dealt_out_is_never_changed() -> None:
    """Parts that two versions made must fit together."""
    dealt = [sorted(parts.shards_of(part, 3, "f" * 64, 8, together=False)) for part in (1, 2, 3)]
    assert dealt == [[2, 5], [0, 3, 6], [1, 4, 7]]
    assert [len(parts.shards_of(part, 3, "f" * 64, 8, together=True)) for part in (1, 2, 3)] == [0, 8, 0]


@pytest.mark.parametrize("count", [1, 3, 16])
def test_every_shard_is_one_part_s_and_a_heavy_cell_is_everybody_s(count: int) -> None:
    loads: Counter[int] = Counter()
    for number in range(200):
        key, shards = f"{number:064x}", 40
        dealt = [parts.shards_of(part, count, key, shards, together=False) for part in range(1, count + 1)]
        assert sorted(shard for own in dealt for shard in own) == list(range(shards))
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
        loads.update({part: len(own) for part, own in enumerate(dealt)})
    assert max(loads.values()) <= 1.1 * min(loads.values())


@pytest.mark.parametrize("jobs", [1, 2])
def test_parts_in_one_database_make_what_one_run_makes(jobs: int) -> None:
    settings = {"engine": Processes(jobs)} if jobs > 1 else {}
    with Store.memory() as whole, Store.memory() as pieces:
        evaluate(whole, asked())
        for number in (2, 3, 1):
            assert evaluate(pieces, asked(), Part(number, 3), **settings).failed == []
            assert (statuses(pieces) == {"done"}) == (number == 1)
        assert content(pieces) == content(whole)
        assert list(parts.said(pieces)) == []
        again = evaluate(pieces, asked())
        assert (again.done, again.kept) == (0, 10)
        assert content(pieces) == content(whole)


def test_parts_apart_share_nothing_and_leave_nothing_out() -> None:
    with Store.memory() as whole:
        evaluate(whole, asked())
        found: Counter[tuple[str, int]] = Counter()
        for number in (1, 2, 3):
            with Store.memory() as own:
                summary = evaluate(own, asked(), Part(number, 3))
                mine = crafted(own)
                assert 0 < len(mine) < len(crafted(whole))
                assert summary.done == len({key for key, _ in mine}), "cells of others are not counted"
                found += mine
        assert found == crafted(whole)


def test_a_cell_of_which_a_shard_is_lacking_is_not_done_and_counts_nowhere() -> None:
    """Examples that nobody has attacked would look robust."""
    with Store.memory() as store:
        evaluate(store, asked(attacks=["noise", "fgsm"]), Part(1, 2))
        assert statuses(store) == {"unfinished"}
        assert store.rates("fooling") == []
        assert {row["right"] for row in store.rates("robust_accuracy")} == {None}


def test_one_perturbation_for_all_is_fitted_by_one_part() -> None:
    with Store.memory() as whole:
        evaluate(whole, asked(attacks=["for-all"], threats=["linf(eps=0.2)"]))
        owners = []
        for number in (1, 2, 3):
            with Store.memory() as own:
                evaluate(own, asked(attacks=["for-all"], threats=["linf(eps=0.2)"]), Part(number, 3))
                owners += {key for key, _ in crafted(own)}
                assert statuses(own) <= {"done"}
        assert sorted(owners) == sorted({key for key, _ in crafted(whole)})


def test_newcomers_are_judged_by_each_part_on_its_own_shards() -> None:
    with Store.memory() as whole, Store.memory() as pieces:
        evaluate(whole, asked())
        evaluate(pieces, asked(models=["small"]))
        for number in (1, 2):
            before = len(content(pieces)["judgements"])
            evaluate(pieces, asked(), Part(number, 2))
            assert before < len(content(pieces)["judgements"])
        assert content(pieces) == content(whole)


def test_the_display_counts_what_is_the_part_s() -> None:
    class Heard(Reporter):
        def __init__(self) -> None:
            self.examples, self.seen, self.words = 0, 0, ""

        def planned(self, cells: int, examples: int) -> None:
            self.examples = examples

        def shard(self, examples: int, *, cached: bool) -> None:
            self.seen += examples

        def say(self, text: str) -> None:
            self.words += text

    total = 0
    for number in (1, 2):
        with Store.memory() as store:
            heard = Heard()
            run(asked(), store, registry(), Settings(share=Part(number, 2)), heard)
            assert heard.examples == heard.seen
            assert f"Part {number}/2 of suite: {len(crafted(store))} shards of" in heard.words
            total += heard.seen
    assert total == 10 * 18


def test_a_part_that_has_nothing_to_do_is_a_part(tmp_path: Path) -> None:
    few = asked(attacks=["noise"], threats=["linf(eps=0.2)"], models=["small"])
    with Store.memory() as store:
        for number in range(1, 6):
            evaluate(store, few, Part(number, 5))
        assert len(parts.held(store)) == 5
        assert list(parts.said(store)) == []


def test_what_is_missing_is_said_until_a_whole_run_has_come() -> None:
    with Store.memory() as store:
        evaluate(store, asked(), Part(2, 12))
        assert list(parts.said(store)) == [
            "suite: parts 1/12, 3/12, 4/12, 5/12, 6/12, 7/12, 8/12, 9/12 and 3 more are not here."
        ]
        evaluate(store, asked(), Part(1, 2))
        calls = iter([False] * 5)
        evaluate(store, asked(), Part(2, 2), interrupted=lambda: next(calls, True))
        assert "suite: part 2/2 is not finished." in list(parts.said(store))
        evaluate(store, asked())
        assert list(parts.said(store)) == []


@pytest.mark.parametrize("text", ["17/16", "0/4", "x", "1/0", "1/", "1/2/3", "-1/4", "1.0/4", "١/٤", "1/9999999", ""])
def test_no_part_of_a_run_is_called_so(text: str) -> None:
    with pytest.raises(AdvbenchError, match=f"^--part {text}"):
        part_of(text)


def test_the_command_line_refuses_and_says_how_to_join(advbench: Advbench, results: Results, tmp_path: Path) -> None:
    db = tmp_path / "part.sqlite"
    assert "from 1/16 to 16/16" in advbench("run", results.suite, "--part", "17/16", "--db", db).complaint
    assert not db.exists()
    done = advbench("run", results.suite, "--part", "1/3", "--db", db)
    assert done.code == 0
    assert f"advbench merge --parts all.sqlite {db}" in done.out
    assert "part 1/3: its shards of" in done.out
    assert "toys: parts 2/3, 3/3 are not here." in advbench("show", "--db", db).out


def test_weights_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained apart they differ, so that no two parts would have a cell in common."""
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path / "cache"))
    with Store.open(tmp_path / "part.sqlite") as store:
        wanted = asked(models=["small", "trained"])
        assert Trained().recipe(wanted.boards[0].dataset)
        with pytest.raises(
            AdvbenchError, match=r"--part 1/2: trained must be trained before .* `advbench train SUITE`"
        ):
            evaluate(store, wanted, Part(1, 2))
        assert store.cells() == []


def test_perturbations_of_a_part_are_not_handed_in_as_those_of_a_cell(tmp_path: Path) -> None:
    """Each part would hand in others, under keys of its own."""
    with Store.open(tmp_path / "part.sqlite") as store:
        evaluate(store, asked(attacks=["fgsm"], models=["small"], threats=["linf(eps=0.2)"]), Part(1, 2))
        (cell,) = store.cells()
        stored = StoredPerturbations(str(tmp_path / "part.sqlite"), cell.key)
        with pytest.raises(AdvbenchError, match=r"only 2 of its shards .* `advbench merge`|only 1 of its shards"):
            assert stored.digest
        evaluate(store, asked(attacks=["fgsm"], models=["small"], threats=["linf(eps=0.2)"]), Part(2, 2))
        assert stored.digest


CHILD = """
import sys
sys.path.insert(0, {folder!r})
from blobs import registry, suite
from advbench.run.part import Part
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
wanted = suite(attacks=["slow(pause=0.01)", "fgsm"], shard=2)
with Store.open({database!r}) as store:
    print("ready", flush=True)
    summary = run(wanted, store, registry(), Settings(share=Part({number}, 2)))
    assert not summary.failed
"""


def facts(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(database, readonly=True) as store:
        return content(store)


def finish(child: Child) -> None:
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, out + err


def start(database: Path, number: int) -> Child:
    return script(CHILD.format(folder=str(ROOT / "tests"), database=str(database), number=number))


def test_a_part_that_is_killed_and_begun_again_loses_nothing(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.sqlite", tmp_path / "killed.sqlite"
    finish(start(whole, 1))
    for seconds in (0.1, 0.3):
        child = start(killed, 1)
        child.stdout.readline()
        while not facts(killed)["shards"]:
            time.sleep(0.02)
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert 0 < len(facts(killed)["shards"]) < len(facts(whole)["shards"])
    with Store.open(killed) as store:
        assert list(parts.said(store)) == ["suite: part 2/2 is not here; part 1/2 is not finished."]
    finish(start(killed, 1))
    assert facts(killed) == facts(whole)
    with Store.open(killed) as store:
        assert list(parts.said(store)) == ["suite: part 2/2 is not here."]
