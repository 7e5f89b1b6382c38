"""The whole run: crashes, two at once, cache keys, transfer, failures that stay where they are."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blobs import EXAMPLES, Blobs, Small, registry, suite
from processes import Child, script
from torch import Tensor, nn

from advbench import Attack, Data, Dataset, Problem
from advbench.data import DataFolders
from advbench.errors import PluginError
from advbench.plugins.origin import Origin
from advbench.plugins.registry import Registry
from advbench.run.report import Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content
from advbench.suite.suite import Suite
from advbench_attacks.fgsm import FGSM
from advbench_attacks.noise import Noise


def evaluate(store: Store, wanted: Suite, **settings: Any) -> Summary:
    return run(wanted, store, registry(), replace(Settings(), **settings))


@pytest.fixture
def memory() -> Iterator[Store]:
    with Store.memory() as store:
        yield store


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a run of `suite()` leaves; nobody writes to it."""
    folder = tmp_path_factory.mktemp("once")
    with Store.open(folder / "results.sqlite") as store:
        assert evaluate(store, suite()).done == 18
    return folder


@pytest.fixture
def evaluated(once: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of it."""
    with Store.open(shutil.copytree(once, tmp_path / "copy") / "results.sqlite") as store:
        yield store


def test_every_cell_is_judged_on_every_target_so_that_transfer_is_known(memory: Store) -> None:
    summary = evaluate(memory, suite())
    assert (summary.done, summary.kept, summary.failed) == (18, 0, [])
    assert len(memory.rates("fooling")) == 18
    assert len(memory.rates("transfer")) == 18
    assert all(row["n"] == EXAMPLES - 6 for row in memory.rates("fooling") + memory.rates("transfer"))
    accuracy = {row["target_label"]: row["accuracy"] for row in memory.rates("clean_accuracy")}
    assert min(accuracy.values()) > 0.9, "the toy networks should get the clean images right"
    fooled = {(row["entrant"], row["board_name"]): row["rate"] for row in memory.rates("fooling")}
    assert fooled["pgd(steps=5)", "blobs/linf/0.2"] > 0.2
    assert fooled["pgd(steps=5)", "blobs/linf/0.2"] >= fooled["noise", "blobs/linf/0.2"]


def test_a_second_run_crafts_nothing(evaluated: Store) -> None:
    before = content(evaluated)
    summary = evaluate(evaluated, suite())
    assert (summary.done, summary.kept) == (0, 18)
    assert content(evaluated) == before


def test_a_failing_attack_leaves_the_others_and_is_tried_again(memory: Store) -> None:
    wanted = suite(attacks=["raising", "fgsm"], threats=["linf(eps=0.2)"])
    first = evaluate(memory, wanted)
    assert first.done == 2
    assert [reason for _, reason in first.failed] == ["ValueError: lost its way"] * 2
    assert evaluate(memory, wanted).failed, "failures are never cached"
    unranked = {row["unranked"] for row in memory.rates("robust_accuracy")}
    assert unranked == {"raising failed: ValueError: lost its way"}


def test_a_new_target_is_judged_on_what_was_crafted_before_it_came(memory: Store, evaluated: Store) -> None:
    evaluate(memory, suite(models=["small"]))
    summary = evaluate(memory, suite())
    assert (summary.done, summary.kept) == (9, 9)
    assert content(memory) == content(evaluated)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": ["small(seed=2)", "small(seed=3)"]},
        {"attacks": ["noise(tries=6)", "fgsm(travel=0.9)", "pgd(steps=6)"]},
        {"threats": ["linf(eps=0.21)", "rotate-shift(pixels=2)", "wasserstein(eps=0.4, kernel=3)"]},
        {"seed": 1},
        {"stop": "end"},
        {"budget": 3},
        {"precision": "bf16"},
        {"goals": ["random"]},
        {"examples": 10},
        {"data": "blobs(count=26)"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_can_change_an_outcome_changes_the_key(evaluated: Store, changes: dict[str, Any]) -> None:
    assert evaluate(evaluated, suite(**changes)).kept == 0


@pytest.mark.parametrize(("part", "kept"), [("version", True), ("digest", False)])
def test_another_source_of_a_plugin_is_no_cache_hit_and_another_version_alone_is(
    evaluated: Store, monkeypatch: pytest.MonkeyPatch, part: str, kept: bool
) -> None:
    original = Registry.origin

    def other(self: Registry, plugin: Any) -> Origin:
        origin = original(self, plugin)
        return replace(origin, **{part: "other"}) if isinstance(plugin, Attack) else origin

    monkeypatch.setattr(Registry, "origin", other)
    assert bool(evaluate(evaluated, suite()).kept) is kept


def test_other_weights_under_the_same_name_are_no_cache_hit(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(memory, suite(models=["small"]))
    build = Small.build

    def other(self: Small, dataset: Dataset) -> nn.Module:
        net = build(self, dataset)
        with torch.no_grad():
            next(net.parameters()).view(-1)[0] += 1e-4
        return net

    monkeypatch.setattr(Small, "build", other)
    assert evaluate(memory, suite(models=["small"])).kept == 0


@pytest.mark.parametrize("shard", [3, 18, 100])
def test_the_size_of_shards_changes_no_bit_of_an_outcome(evaluated: Store, shard: int) -> None:
    with Store.memory() as other:
        evaluate(other, suite(shard=shard))
        assert content(other)["outcomes"] == content(evaluated)["outcomes"]
        assert content(other)["clean"] == content(evaluated)["clean"]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_batch_size_changes_no_verdict(memory: Store, batch: int) -> None:
    evaluate(memory, suite(), batch=32)
    with Store.memory() as other:
        evaluate(other, suite(), batch=batch)
        assert content(other)["clean"] == content(memory)["clean"]
        for ours, theirs in zip(content(memory)["outcomes"], content(other)["outcomes"], strict=True):
            assert ours[:6] == theirs[:6]


def test_a_run_that_was_interrupted_says_so_and_goes_on(memory: Store, evaluated: Store) -> None:
    calls = iter([False] * 9)
    summary = evaluate(memory, suite(), interrupted=lambda: next(calls, True))
    assert summary.interrupted
    assert 0 < summary.done < 18
    evaluate(memory, suite())
    assert content(memory) == content(evaluated)


def test_an_interrupt_during_training_is_no_failed_target(
    memory: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADVBENCH_CACHE", str(tmp_path))
    whole = Blobs.load

    def load(self: Blobs, folders: DataFolders) -> Data:
        data = whole(self, folders)
        return replace(data, train=data.judge)

    monkeypatch.setattr(Blobs, "load", load)
    calls = iter([False] * 5)
    summary = evaluate(memory, suite(models=["trained"]), interrupted=lambda: next(calls, True))
    assert (summary.interrupted, summary.failed) == (True, [])
    assert content(memory)["skips"] == []


def test_a_cell_begun_with_another_shard_size_is_finished(memory: Store) -> None:
    shards = iter([False] * 4)
    evaluate(memory, suite(models=["small"], attacks=["fgsm"]), interrupted=lambda: next(shards, True))
    evaluate(memory, suite(models=["small"], attacks=["fgsm"], shard=5))
    assert all(row["n"] == EXAMPLES - 6 for row in memory.rates("fooling"))


def test_stopping_at_the_first_success_or_at_the_end_fools_as_often(memory: Store) -> None:
    """And transfers differently: that is why the mode is part of the key and stands on the page."""
    evaluate(memory, suite(attacks=["pgd(steps=8)"], threats=["linf(eps=0.12)"]))
    with Store.memory() as other:
        evaluate(other, suite(attacks=["pgd(steps=8)"], threats=["linf(eps=0.12)"], stop="end"))
        first, end = memory.rates("fooling"), other.rates("fooling")
        assert [row["fooled"] for row in first] == [row["fooled"] for row in end]
        assert content(memory)["outcomes"] != content(other)["outcomes"]


@pytest.mark.parametrize("goal", ["random", "least-likely", "class=2", "each"])
def test_targeted_goals_are_reached_and_judged_as_such(memory: Store, goal: str) -> None:
    evaluate(memory, suite(goals=[goal], attacks=["pgd(steps=15)"], threats=["linf(eps=0.4)"], models=["small"]))
    rows = content(memory)["outcomes"]
    assert rows
    for _, _, _, goal_label, reached, predicted, *_ in rows:
        assert reached == (predicted == goal_label)
    assert sum(row[4] for row in rows) > 0
    if goal == "class=2":
        assert len(rows) == (EXAMPLES - 6) * 2 // 3, "examples of the class itself are left out"
    if goal == "each":
        assert len(rows) == (EXAMPLES - 6) * 2


def test_a_detector_is_calibrated_on_held_out_images_and_its_false_alarms_stand_beside_the_rate(memory: Store) -> None:
    evaluate(memory, suite(defenses=["doubting"], false_positive_rate=0.4))
    rows = memory.rates("undetected")
    assert rows
    for row in rows:
        assert row["undetected"] <= row["n"]
        assert row["false_positives"] is not None


@pytest.mark.parametrize("budget", [1, 3])
def test_an_attack_whose_budget_ends_is_not_thrown_out_of_the_ball(memory: Store, budget: int) -> None:
    evaluate(memory, suite(budget=budget, attacks=["fgsm", "pgd(steps=8)"]))
    assert {row["violations"] for row in memory.rates("fooling")} == {0}


def test_a_shard_to_whose_examples_the_goal_does_not_apply_is_no_failure(memory: Store) -> None:
    summary = evaluate(memory, suite(goals=["each"], attacks=["fgsm"], models=["small"], shard=1))
    assert summary.failed == []


def test_a_network_that_answers_nothing_is_wrong_not_robust(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] * torch.nan

    monkeypatch.setattr(Small, "build", lambda self, dataset: Silent())
    evaluate(memory, suite(models=["small"], attacks=["noise"]))
    assert {row["accuracy"] for row in memory.rates("clean_accuracy")} == {0.0}
    assert {row["accuracy"] for row in memory.rates("robust_accuracy")} == {0.0}
    assert [row["kind"] for row in memory.rows("SELECT kind FROM notes")] == ["not finite"]


def test_two_runs_with_shards_of_different_sizes_lose_no_example(memory: Store) -> None:
    wanted = suite(models=["small"], attacks=["fgsm"], threats=["linf(eps=0.2)"])
    evaluate(memory, wanted)
    (shard,) = (row for row in memory.rows("SELECT c.key, s.* FROM shards s JOIN cells c ON c.id = s.cell LIMIT 1"))
    other = {"shard": 9, "first": 36, "count": 4, "artifact": None}
    with pytest.raises(PluginError, match="shards of 7 examples"):
        memory.add_shard(shard["key"], other, {}, None)


def test_eps_zero_changes_nothing(memory: Store) -> None:
    zero = ["linf(eps=0)", "l2(eps=0)", "rotate-shift(eps=0)", "wasserstein(eps=0, kernel=3)"]
    evaluate(memory, suite(threats=zero))
    clean = {(row[0], row[1]): row[3] for row in content(memory)["clean"]}
    for _, target, example, _, _, predicted, _, _, size, violation, *_ in content(memory)["outcomes"]:
        assert predicted == clean[target, example]
        assert size == 0
        assert violation is None


def test_memory_holds_one_shard_however_many_examples_there_are(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest batch that an attack ever sees is a shard."""
    seen: list[int] = []
    perturb = FGSM.perturb

    def spy(self: FGSM, problem: Problem) -> Tensor:
        seen.append(len(problem.images))
        return perturb(self, problem)

    monkeypatch.setattr(FGSM, "perturb", spy)
    evaluate(memory, suite(data="blobs(count=206)", attacks=["fgsm"], threats=["linf(eps=0.2)"], shard=16))
    assert max(seen) == 16


# Kills: the run is a process of its own, on a suite that is long enough for kills to land inside cells.

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
sys.path.insert(0, {folder!r})
from blobs import registry, suite
from advbench.engines.processes import Processes
from advbench.engines.serial import Serial
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store
wanted = suite(attacks=["slow(pause=0.02)", "fgsm"], shard=3)
with Store.open({database!r}) as store:
    print("ready", flush=True)
    engine = Processes({jobs}) if {jobs} > 1 else Serial()
    summary = run(wanted, store, registry(), Settings(engine=engine))
    print("cells", summary.done, summary.kept, len(summary.failed), flush=True)
"""


def start(database: Path, jobs: int = 1) -> Child:
    return script(CHILD.format(folder=str(ROOT / "tests"), database=str(database), jobs=jobs))


def finish(child: Child) -> str:
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, out + err
    return out


def facts(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(database, readonly=True) as store:
        return content(store)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[tuple[Any, ...]]], float]:
    database = tmp_path_factory.mktemp("whole") / "results.sqlite"
    child = start(database)
    child.stdout.readline()
    began = time.monotonic()
    finish(child)
    return facts(database), time.monotonic() - began


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_killed_again_and_again_ends_as_if_nothing_had_happened(
    tmp_path: Path, uninterrupted: tuple[dict[str, list[tuple[Any, ...]]], float], jobs: int
) -> None:
    whole, seconds = uninterrupted
    kills = int(os.environ.get("ADVBENCH_KILLS", "3"))
    database = tmp_path / "results.sqlite"
    chance = random.Random(kills)
    inside = 0
    for _ in range(kills):
        child = start(database, jobs)
        child.stdout.readline()
        while not facts(database)["shards"]:
            time.sleep(0.02)
        # several kills must fit into one run's work
        time.sleep(chance.uniform(0.05, max(0.3, 1.5 * seconds / kills)))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        inside += 0 < len(facts(database)["shards"]) < len(whole["shards"])
    assert inside > 0, "no kill landed while there was work to lose"
    finish(start(database, jobs))
    assert facts(database) == whole
    with Store.open(database) as store:
        assert store.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_two_runs_on_one_database_finish_and_lose_nothing(
    tmp_path: Path, uninterrupted: tuple[dict[str, list[tuple[Any, ...]]], float]
) -> None:
    whole, _ = uninterrupted
    database = tmp_path / "results.sqlite"
    children = [start(database), start(database, jobs=2)]
    for child in children:
        assert " 0\n" in finish(child), "no cell failed"
    assert facts(database) == whole


# Perturbations that were lost


def test_lost_perturbations_are_crafted_again_for_a_target_that_came_later(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.sqlite", tmp_path / "broken.sqlite"
    wanted = {"attacks": ["noise", "pgd(steps=5)"], "threats": ["linf(eps=0.2)"]}
    for path in (whole, broken):
        with Store.open(path) as store:
            assert evaluate(store, suite(**wanted, models=["small"])).failed == []
    files = sorted(path for path in (tmp_path / "broken.artifacts").rglob("*") if path.is_file())
    files[0].write_bytes(b"damaged")
    for path in files[1:]:
        path.unlink()
    for path in (whole, broken):
        with Store.open(path) as store:
            assert evaluate(store, suite(**wanted)).failed == []
    with Store.open(whole) as one, Store.open(broken) as other:
        assert content(one) == content(other)
        assert all(other.artifacts.whole(row["sha256"]) for row in other.rows("SELECT sha256 FROM artifacts"))


def test_perturbations_that_come_out_differently_fail_their_cell_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"attacks": ["noise", "pgd(steps=5)"], "threats": ["linf(eps=0.2)"]}
    with Store.open(tmp_path / "results.sqlite") as store:
        evaluate(store, suite(**wanted, models=["small"]))
        (sha,) = {
            row["artifact"]
            for row in store.rows(
                "SELECT artifact FROM shards s JOIN cells c ON c.id = s.cell WHERE attack = 'noise' AND shard = 1"
            )
        }
        store.artifacts.path(sha).unlink()
        real = Noise.perturb
        monkeypatch.setattr(Noise, "perturb", lambda attack, problem: real(attack, problem) * 0.5)
        summary = evaluate(store, suite(**wanted))
        assert [(label, reason.partition(":")[0]) for label, reason in summary.failed] == [
            (
                "noise in linf 0.2 on small",
                f"its perturbations {sha[:12]} are lost, and others came out when they were crafted again, on another "
                "machine perhaps",
            )
        ]
        assert summary.done == 2  # those of the target that came later
        assert not store.artifacts.whole(sha)


def test_drafts_of_killed_processes_are_swept(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        sha, _ = store.artifacts.put({"p": torch.zeros(3)})
        old, new = (store.artifacts.path(sha).with_name(f".{sha}.1.{end}") for end in ("old", "new"))
        for draft in (old, new):
            draft.write_bytes(b"half a file")
        os.utime(old, (0, 0))
    with Store.open(tmp_path / "results.sqlite") as store:
        store.artifacts.path(sha).unlink()
        store.artifacts.put({"p": torch.zeros(3)})
    assert (old.exists(), new.exists()) == (False, True)
