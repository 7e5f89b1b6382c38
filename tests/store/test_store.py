"""The store keeps every fact, whole, once, and derives the rates that anybody can check by hand."""

from __future__ import annotations

import importlib.util
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from advbench.errors import AdvbenchError
from advbench.rates import detection
from advbench.rates.story import story
from advbench.rates.uncertainty import wilson
from advbench.store import SCHEMA_VERSION, Store, content, migrations
from advbench.store.outcome_views import largest
from advbench.store.rows import ArtifactRow
from advbench.store.views import VIEWS

FIXED = {"data_fingerprint": "data", "examples": "set", "count": 4, "threat": "linf", "family": "linf", "protocol": 2}


def cell(key: str, attack: str, source: str, **more: Any) -> dict[str, Any]:
    row = {"key": key, "dataset": "digits", "attack": attack, "source": source, "eps": 0.3, "goal": "untargeted"}
    return {**FIXED, **row, "stop": "first", "seed": 0, **more}


def board(key: str, eps: float, required: list[str], **more: Any) -> dict[str, Any]:
    row = {"key": key, "name": f"digits/linf/{eps}", "dataset": "digits", "eps": eps, "required": required}
    return {**FIXED, **row, **more}


def target(key: str, **more: Any) -> dict[str, Any]:
    row = {"key": key, "label": f"model {key}", "model": "model", "defenses": "none", "dataset": "digits"}
    return {**row, "data_fingerprint": "data", **more}


def outcome(example: int, predicted: int, **more: Any) -> dict[str, Any]:
    """All examples are of class 0, so that anything else is a success."""
    row = {"example": example, "predicted": predicted, "reached": predicted != 0, "confidence": 0.9, "size": 0.3}
    return {**row, "tolerance": 1e-6, **more}


def finish(store: Store, key: str, outcomes: dict[str, list[dict[str, Any]]]) -> None:
    store.add_shard(key, {"shard": 0, "first": 0, "count": 4, "run": "run"}, outcomes)
    store.add_event(key, "run", "done")


def begin(store: Store) -> None:
    """Targets A (wrong on example 3 even when clean) and D (a detector), on four examples."""
    store.begin_run({"id": "run", "seed": 0, "protocol": 2, "settings": {"ε": [1, 2]}})
    store.add_dataset({"fingerprint": "data", "label": "digits", "classes": ["0", "1"], "shape": [1, 2, 2], "count": 4})
    store.add_examples("set", [0, 1, 2, 3])
    store.add_target(target("A"))
    store.add_target(target("D", threshold=0.5, false_positive_rate=0.05))
    for key, predicted, suspicion in (("A", [0, 0, 0, 1], [None] * 4), ("D", [0, 0, 0, 0], [0.1, 0.9, 0.2, None])):
        rows = zip(range(4), predicted, suspicion, strict=True)
        names = {"label": 0, "confidence": 0.9}
        store.add_clean(key, [{"example": e, "predicted": p, "suspicion": s, **names} for e, p, s in rows])


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory() as store:
        begin(store)
        yield store


@pytest.fixture
def judged(store: Store) -> Store:
    """Two boards of one family; `pgd` at 0.3 on both targets, `cw` in the unbounded ball on A."""
    store.add_board(board("wide", 0.3, ["pgd", "cw"]))
    store.add_board(board("narrow", 0.1, ["cw"]))
    store.add_cell(cell("pgd-A", "pgd", "A"))
    store.add_cell(cell("pgd-D", "pgd", "D"))
    store.add_cell(cell("cw-A", "cw", "A", eps=None, minimizes=1))
    outside = {"violation": "outside the ball", "excess": 0.2, "size": 0.5}
    own = [outcome(0, 1), outcome(1, 1, **outside), outcome(2, 0), outcome(3, 1)]
    transfer = [outcome(0, 1, suspicion=0.9), outcome(1, 1, **outside), outcome(2, 0), outcome(3, 0)]
    finish(store, "pgd-A", {"A": own, "D": transfer})
    detected = [outcome(e, 1, suspicion=s) for e, s in enumerate((0.4, 0.5, 0.6, None))]
    finish(store, "pgd-D", {"D": detected})
    finish(store, "cw-A", {"A": [outcome(e, 1, size=s) for e, s in enumerate((0.2, 0.05, 0.4, 0.01))]})
    return store


def only(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


# Rates


def test_fooling_counts_goals_reached_by_the_rules(judged: Store) -> None:
    row = only(judged.rates("fooling", "wide"), cell="pgd-A")
    assert (row["fooled"], row["n"], row["fooled_first_right"], row["first_right"]) == (2, 4, 1, 3)
    assert row["rate"] == 0.5
    assert row["mean_size"] == pytest.approx(0.3)
    assert row["violations"] == 1
    assert (row["rate_low"], row["rate_high"]) == pytest.approx(wilson(2, 4), abs=1e-12)
    assert (row["rate_first_right_low"], row["rate_first_right_high"]) == pytest.approx(wilson(1, 3), abs=1e-12)


def test_a_minimal_norm_cell_is_judged_at_every_radius(judged: Store) -> None:
    assert only(judged.rates("fooling", "wide"), cell="cw-A")["fooled"] == 3
    assert only(judged.rates("fooling", "narrow"), cell="cw-A")["fooled"] == 2
    assert [row["cell"] for row in judged.rates("fooling", "narrow")] == ["cw-A"]


def test_what_lies_inside_a_board_s_ball_is_said_once_for_every_outcome(judged: Store) -> None:
    rows = judged.rates("judged_outcomes")
    found = {
        (row["board"], row["cell"], row["example"]): (row["inside"], row["fooled"])
        for row in rows
        if row["target"] == "A"
    }
    assert [found["wide", "pgd-A", example] for example in range(4)] == [(1, 1), (0, 0), (1, 0), (1, 1)]
    assert [found["wide", "cw-A", example] for example in range(4)] == [(1, 1), (1, 1), (0, 0), (1, 1)]
    assert [found["narrow", "cw-A", example] for example in range(4)] == [(0, 0), (1, 1), (0, 0), (1, 1)]
    assert ("narrow", "pgd-A", 0) not in found  # its ball is another one
    alarms = {row["example"] for row in rows if row["cell"] == "pgd-D" and row["target"] == "D" and row["alarm"]}
    assert alarms == {2}


@pytest.mark.parametrize(("size", "inside"), [(0.1, 1), (0.1 * (1 + 1e-7), 1), (0.1 * (1 + 1e-5), 0)])
def test_rounding_alone_leads_out_of_no_ball(judged: Store, size: float, inside: int) -> None:
    judged.add_cell(cell("cw-D", "cw", "D", eps=None, minimizes=1))
    finish(judged, "cw-D", {"D": [outcome(0, 1, size=size)]})
    assert only(judged.rates("judged_outcomes", "narrow"), cell="cw-D")["inside"] == inside
    assert (size <= largest(0.1)) == inside


def test_sizes_are_those_of_images_that_were_right_when_clean(judged: Store) -> None:
    judged.add_cell(cell("cw-D", "cw", "D", eps=None, minimizes=1))
    finish(judged, "cw-D", {"D": [outcome(e, 1, size=s) for e, s in enumerate((0.2, 0.05, 0.1, 0.25))]})
    row = only(judged.rates("sizes", "wide"), cell="cw-A")
    assert (row["n"], row["mean_size"], row["median_size"]) == (2, pytest.approx(0.125), pytest.approx(0.125))
    assert only(judged.rates("fooling", "wide"), cell="cw-A")["mean_size"] == pytest.approx(0.125)
    row = only(judged.rates("sizes", "wide"), cell="cw-D")
    assert (row["n"], row["mean_size"], row["median_size"]) == (4, pytest.approx(0.15), pytest.approx(0.15))
    assert only(judged.rates("sizes", "narrow"), cell="cw-D")["median_size"] == pytest.approx(0.075)


def test_transfer_is_apart_from_fooling(judged: Store) -> None:
    (row,) = judged.rates("transfer", "wide")
    assert (row["source"], row["target"], row["fooled"], row["n"]) == ("A", "D", 1, 4)
    assert all(row["source"] != "D" or row["fooled"] == 4 for row in judged.rates("fooling"))


def test_undetected_stands_beside_the_measured_false_alarms(judged: Store) -> None:
    row = only(judged.rates("undetected", "wide"), cell="pgd-D")
    assert row["undetected"] == 3  # at the threshold is below it, and no number raises no alarm
    assert (row["alarms"], row["clean_n"], row["false_positives"], row["asked"]) == (1, 4, 0.25, 0.05)
    assert only(judged.rates("undetected", "wide"), cell="pgd-A", target="D")["undetected"] == 0
    assert {row["target"] for row in judged.rates("undetected")} == {"D"}


def test_robust_accuracy_is_the_pointwise_worst_case_of_the_required_set(judged: Store) -> None:
    wide = only(judged.rates("robust_accuracy", "wide"), target="A")
    assert (wide["right"], wide["n"], wide["unranked"]) == (1, 4, None)  # 0: both, 1: cw, 3: wrong when clean
    narrow = only(judged.rates("robust_accuracy", "narrow"), target="A")
    assert (narrow["right"], narrow["n"]) == (2, 4)
    assert (narrow["accuracy_low"], narrow["accuracy_high"]) == pytest.approx(wilson(2, 4), abs=1e-12)
    assert judged.robust_examples("wide") == {"A": {0: False, 1: False, 2: True, 3: False}}


def test_accuracy_under_one_attack(judged: Store) -> None:
    rows = judged.rates("attack_accuracy", "wide")
    found = {(row["target"], row["entrant"]): row["still_right"] for row in rows}
    assert found == {("A", "pgd"): 2, ("A", "cw"): 1, ("D", "pgd"): 0}


def test_clean_accuracy(judged: Store) -> None:
    assert {row["target"]: row["right"] for row in judged.rates("clean_accuracy", "wide")} == {"A": 3, "D": 4}


def test_a_target_without_a_required_attack_is_unranked_with_the_reason(judged: Store) -> None:
    def reason() -> str:
        return str(only(judged.rates("robust_accuracy", "wide"), target="D")["unranked"])

    assert reason() == "cw has not been run"
    judged.add_cell(cell("cw-D", "cw", "D", eps=None, minimizes=1))
    assert reason() == "cw is not finished"
    judged.add_event("cw-D", "run", "failed", "out of luck")
    assert reason() == "cw failed: out of luck"
    finish(judged, "cw-D", {"D": [outcome(e, 1, size=0.5) for e in range(4)]})
    row = only(judged.rates("robust_accuracy", "wide"), target="D")
    assert (row["unranked"], row["right"]) == (None, 0)  # pgd alone fools all


def test_of_many_required_attacks_that_a_target_lacks_a_few_are_named(judged: Store) -> None:
    """Else one board that requires thousands would fill the page of every target with their names."""
    judged.add_board(board("many", 0.3, [f"a{number:04}" for number in range(3000)]))
    told = only(judged.rates("robust_accuracy", "many"), target="A")["unranked"]
    assert told.startswith("a0000 has not been run; a0001 has not been run; ")
    assert told.endswith("; a0007 has not been run; and 2992 more")


def test_where_no_attack_is_required_there_is_no_robust_accuracy(judged: Store) -> None:
    judged.add_board(board("nothing", 0.3, []))
    judged.add_board({**board("elsewhere", 0.3, []), "family": "l2"})
    reasons = {row["board"]: row["unranked"] for row in judged.rates("robust_accuracy") if row["accuracy"] is None}
    assert reasons["nothing"] == "no attack that was run is required"
    assert reasons["elsewhere"] == "no attack was run"
    assert judged.robust_examples("nothing") == judged.robust_examples("elsewhere") == {}


def test_a_targeted_entrant_does_not_stand_in_for_an_untargeted_one(judged: Store) -> None:
    judged.add_cell(cell("cw-D", "cw", "D", eps=None, minimizes=1, goal="class=1"))
    finish(judged, "cw-D", {"D": [outcome(e, 1) for e in range(4)]})
    assert only(judged.rates("robust_accuracy", "wide"), target="D")["unranked"] == "cw has not been run"
    assert only(judged.rates("fooling", "wide"), cell="cw-D")["entrant"] == "cw → class=1"


def test_an_unfinished_clean_pass_is_not_ranked(judged: Store) -> None:
    judged.add_target(target("N"))
    judged.add_clean("N", [{"example": 0, "label": 0, "predicted": 0}])
    assert "clean pass" in only(judged.rates("robust_accuracy", "wide"), target="N")["unranked"]


def test_protocols_never_share_a_rate(judged: Store) -> None:
    views = ("fooling", "clean_accuracy", "robust_accuracy", "certified")
    before = {view: judged.rates(view, "wide") for view in views}
    judged.add_target(target("old"))
    judged.add_clean("old", [{"example": e, "label": 0, "predicted": 0} for e in range(4)])
    judged.add_certificates("old", [{"example": e, "family": "linf", "predicted": 0, "radius": 1.0} for e in range(4)])
    judged.add_cell(cell("before", "pgd", "old", protocol=1))
    finish(judged, "before", {"old": [outcome(e, 1) for e in range(4)]})
    judged.add_board(board("first", 0.3, ["pgd"], protocol=1))
    assert {view: judged.rates(view, "wide") for view in views} == before
    assert [row["cell"] for row in judged.rates("fooling", "first")] == ["before"]
    assert [row["target"] for row in judged.rates("robust_accuracy", "first")] == ["old"]
    assert [row["target"] for row in judged.rates("certified", "first")] == ["old"]


def test_sizes_on_boards_of_protocol_1_are_those_of_all_that_is_fooled(judged: Store) -> None:
    judged.add_target(target("old"))
    judged.add_clean("old", [{"example": e, "label": 0, "predicted": int(e == 3)} for e in range(4)])
    judged.add_cell(cell("before", "pgd", "old", protocol=1))
    finish(judged, "before", {"old": [outcome(e, 1, size=s) for e, s in enumerate((0.2, 0.1, 0.3, 0.0))]})
    judged.add_board(board("first", 0.3, ["pgd"], protocol=1))
    (row,) = judged.rates("sizes", "first")
    assert (row["n"], row["mean_size"]) == (4, pytest.approx(0.15))
    assert only(judged.rates("fooling", "first"), cell="before")["mean_size"] == pytest.approx(0.15)


def test_the_cell_that_was_done_last_counts(judged: Store) -> None:
    judged.add_cell(cell("pgd-A2", "pgd", "A"))
    assert only(judged.rates("fooling", "wide"), source="A", entrant="pgd")["cell"] == "pgd-A"
    judged.add_event("pgd-A2", "run", "failed", "no memory")
    assert only(judged.rates("fooling", "wide"), source="A", entrant="pgd")["cell"] == "pgd-A"
    finish(judged, "pgd-A2", {"A": [outcome(e, 0) for e in range(4)]})
    assert only(judged.rates("fooling", "wide"), source="A", entrant="pgd")["cell"] == "pgd-A2"


def test_a_target_that_is_half_judged_has_no_rate(judged: Store) -> None:
    judged.add_cell(cell("half", "fgsm", "A"))
    for shard in (0, 1):
        outcomes = {"A": [outcome(2 * shard, 1), outcome(2 * shard + 1, 1)]}
        judged.add_shard("half", {"shard": shard, "first": 2 * shard, "count": 2, "run": "run"}, outcomes)
    judged.add_judgement("half", 0, "D", [outcome(0, 1), outcome(1, 1)])
    judged.add_event("half", "run", "done")
    assert [row["target"] for row in judged.rates("rates", "wide") if row["cell"] == "half"] == ["A"]


def test_rates_are_the_same_in_a_tally(judged: Store) -> None:
    apart = {view: judged.rates(view) for view in VIEWS}
    with judged.tallied():
        assert {view: judged.rates(view) for view in VIEWS} == apart
    judged.add_note("A", "masked", "black box beats white box")  # the tally has left nothing behind
    assert {view: judged.rates(view) for view in VIEWS} == apart


def test_an_unknown_rate_is_an_error_in_words(store: Store) -> None:
    with pytest.raises(AdvbenchError, match="robust_accuracy"):
        store.rates("targets; drop table cells")


def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale", Path(__file__).parents[1] / "scale.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_million_outcomes_are_counted_right(tmp_path: Path) -> None:
    boards, targets, attacks, examples = 4, 10, 6, 500
    with Store.open(tmp_path / "results.sqlite") as store:
        count = scale().generate(
            store, boards=boards, targets=targets, attacks=attacks, examples=examples, transfer=True
        )
        assert count == 1_100_000
        with store.tallied():
            fooling, transfer = store.rates("fooling"), store.rates("transfer")
            robust = {(row["board"], row["target"]): row["right"] for row in store.rates("robust_accuracy")}
            assert len(store.rates("undetected")) == boards * attacks * targets * targets // 2
    assert len(fooling) == boards * attacks * targets
    assert len(transfer) == boards * attacks * targets * (targets - 1)

    def hit(e: int, a: int, s: int, own: bool, eps: float) -> bool:
        return (e + a + s) % (4 if own else 8) == 0 and (a < attacks - 1 or e / examples <= eps)

    for row in random.Random(0).sample(transfer, 50) + fooling:
        b, a, s = (int(part) for part in row["cell"][1:].split("."))
        own, eps = "target" not in row, 0.25 + 0.25 * (int(row["board"][1:]) % 2)
        assert row["fooled"] == sum(hit(e, a, s, own, eps) for e in range(examples)), (b, row)
    for (name, t), right in robust.items():
        eps, s = 0.25 + 0.25 * (int(name[1:]) % 2), int(t[1:])
        survivors = [e for e in range(examples) if e % (s + 5) and not any(hit(e, a, s, True, eps) for a in range(6))]
        assert right == len(survivors)


def test_one_attack_with_several_parameters_has_a_best_one_and_a_worst_case_of_all(judged: Store) -> None:
    judged.add_cell(cell("r1", "r(beta=0.1)", "D"))
    judged.add_cell(cell("r2", "r(beta=0.5)", "D"))
    judged.add_cell(cell("r3", "r(beta=0.5)", "D", goal="random"))
    finish(
        judged,
        "r1",
        {"D": [outcome(e, p, suspicion=s) for e, p, s in ((0, 1, 0.1), (1, 1, 0.9), (2, 1, 0.9), (3, 0, 0))]},
    )
    finish(
        judged,
        "r2",
        {"D": [outcome(e, p, suspicion=s) for e, p, s in ((0, 1, 0.2), (1, 1, 0.2), (2, 0, 0), (3, 0, 0))]},
    )
    finish(judged, "r3", {"D": [outcome(e, 1, suspicion=0.1) for e in range(4)]})
    (row,) = judged.rates("sweeps", "wide")  # a goal of one cell alone is no sweep
    told = {"name": "r", "goal": "untargeted", "entrants": 2, "n": 4, "target": "D"}
    assert told.items() <= row.items()
    assert (row["best"], row["best_fooled"], row["fooled"]) == ("r(beta=0.1)", 3, 3)
    assert (row["best_hidden"], row["best_undetected"], row["undetected"]) == ("r(beta=0.5)", 2, 2)
    with judged.tallied():
        assert judged.rates("sweeps", "wide") == [row]


def test_all_parameters_together_fool_more_than_the_best_of_them(judged: Store) -> None:
    for place, beta in enumerate((0.1, 0.5)):
        judged.add_cell(cell(f"r{place}", f"r(beta={beta})", "A"))
        finish(judged, f"r{place}", {"A": [outcome(e, int(e == place)) for e in range(4)]})
    (row,) = judged.rates("sweeps", "wide")
    assert (row["best_fooled"], row["fooled"], row["undetected"]) == (1, 2, None)


def test_the_curve_of_a_detector_goes_through_the_rates_at_its_own_threshold(judged: Store) -> None:
    curve = detection.curve(judged, "wide", "pgd-D", "D")  # clean: 0.1, 0.2, 0.9, none; fooled: 0.4, 0.5, 0.6, none
    found = [(point.threshold, point.false_positives, point.undetected) for point in curve]
    assert found == [(-math.inf, 0.75, 0.25), (0.1, 0.5, 0.25), (0.2, 0.25, 0.25), (0.9, 0.0, 1.0)]
    transfer = detection.curve(judged, "wide", "pgd-A", "D")  # one violation is no success, one was reached at 0.9
    assert [point.undetected for point in transfer] == [0, 0, 0, 0.25]
    assert detection.curve(judged, "wide", "pgd-A", "A") == ()  # does not detect
    assert detection.curve(judged, "wide", "cw-A", "D") == ()  # was not judged


def test_the_curve_of_a_minimal_norm_attack_is_the_boards(judged: Store) -> None:
    judged.add_cell(cell("cw-D", "cw", "D", eps=None, minimizes=1))
    sizes = enumerate((0.2, 0.05, 0.4, 0.01))
    finish(judged, "cw-D", {"D": [outcome(e, 1, size=size, suspicion=0.15) for e, size in sizes]})
    ends = {name: detection.curve(judged, name, "cw-D", "D")[-1].undetected for name in ("wide", "narrow")}
    assert ends == {"wide": 0.75, "narrow": 0.5}


# Facts


def test_facts_cannot_be_changed_or_deleted(judged: Store) -> None:
    for table in ("outcomes", "clean", "cells", "shards", "targets", "boards", "cell_events", "artifacts", "notes"):
        judged.add_note("A", "kind", "reason")
        judged.connection.execute("INSERT INTO artifacts VALUES ('x', 1, 'x') ON CONFLICT DO NOTHING")
        column = judged.connection.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchone()[0]
        for change in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="facts are never changed"):
                judged.connection.execute(change)
    with pytest.raises(sqlite3.IntegrityError, match="facts are never changed"):
        judged.connection.execute("INSERT OR REPLACE INTO clean SELECT * FROM clean")


def test_writing_twice_keeps_the_first(judged: Store) -> None:
    before = content(judged)
    number = judged.add_target(target("A", label="another name"))
    assert number == judged.add_target(target("A"))
    assert judged.add_cell(cell("pgd-A", "other", "A")) == judged.add_cell(cell("pgd-A", "pgd", "A"))
    judged.add_examples("set", [7, 8, 9])
    assert judged.add_shard("pgd-A", {"shard": 0, "first": 0, "count": 4}, {"A": [outcome(0, 0)]})
    assert not judged.add_judgement("pgd-A", 0, "A", [outcome(0, 0)])
    assert content(judged) == before


def test_a_shard_crafted_elsewhere_meanwhile_is_not_mixed_with_this_one(store: Store) -> None:
    store.add_cell(cell("c", "pgd", "A"))
    first, other = (ArtifactRow(sha, 1, "perturbations") for sha in ("aa", "bb"))
    shard = {"shard": 0, "first": 0, "count": 4}
    rows = [outcome(e, 1) for e in range(4)]
    assert store.add_shard("c", shard, {"A": rows}, first)
    assert not store.add_shard("c", shard, {"D": rows}, other)
    assert store.judged("c") == {("A", 0)}
    assert store.add_shard("c", shard, {"A": rows, "D": rows}, first)
    assert store.judged("c") == {("A", 0), ("D", 0)}
    assert [row["sha256"] for row in store.rows("SELECT * FROM artifacts")] == ["aa"]


def test_a_wrong_row_leaves_nothing_of_its_shard(store: Store) -> None:
    store.add_cell(cell("c", "pgd", "A"))
    for broken in ({"predicted": None}, {"predicted": "one"}, {"confidence": "sure"}):
        with pytest.raises(sqlite3.IntegrityError):
            store.add_shard(
                "c", {"shard": 0, "first": 0, "count": 2}, {"A": [outcome(0, 1), {**outcome(1, 1), **broken}]}
            )
    with pytest.raises(TypeError, match="outcomes has no column sise"):
        store.add_shard("c", {"shard": 0, "first": 0, "count": 1}, {"A": [outcome(0, 1, sise=1)]})
    with pytest.raises(LookupError, match="targets: no key 'nobody'"):
        store.add_shard("c", {"shard": 0, "first": 0, "count": 1}, {"nobody": [outcome(0, 1)]})
    assert store.shards("c") == {}
    assert store.judged("c") == set()
    assert store.rows("SELECT * FROM outcomes") == []


def test_json_comes_back_as_it_was(store: Store) -> None:
    assert only(store.rows("SELECT * FROM runs"))["settings"] == {"ε": [1, 2]}
    with pytest.raises(ValueError, match="JSON"):
        store.begin_run({"id": "inf", "settings": {"eps": float("inf")}})


def test_status_is_the_latest_event_and_failures_are_tried_again(store: Store) -> None:
    assert store.cell_status("c") is None
    store.add_cell(cell("c", "pgd", "A"))
    assert store.cell_status("c") is None
    store.add_event("c", "run", "failed", "NaN")
    assert store.cell_status("c") == "failed"
    store.add_event("c", "run", "done")
    assert store.cell_status("c") == "done"
    with pytest.raises(sqlite3.IntegrityError):
        store.add_event("c", "run", "perhaps")


def test_a_cell_is_found_by_the_beginning_of_its_key(judged: Store) -> None:
    found = story(judged, judged.cell("cw"))
    assert (found.cell.key, found.status, len(found.shards)) == ("cw-A", "done", 1)
    assert {row.board_name for row in found.rates} == {"digits/linf/0.3", "digits/linf/0.1"}
    for prefix in ("pgd", "nothing", ""):
        with pytest.raises(AdvbenchError, match="cell"):
            judged.cell(prefix)


def test_reading_back(judged: Store) -> None:
    assert judged.clean("D")[1].suspicion == 0.9
    assert judged.examples("set") == [0, 1, 2, 3]
    assert judged.judged("pgd-A") == {("A", 0), ("D", 0)}
    assert [(row.example, row.label, row.violation) for row in judged.outcomes("pgd-A", "A")] == [
        (0, 0, None),
        (1, 0, "outside the ball"),
        (2, 0, None),
        (3, 0, None),
    ]


def test_content_does_not_depend_on_order_or_run() -> None:
    dumps = []
    for order in (1, -1):
        with Store.memory() as store:
            run = f"run{order}"
            store.begin_run({"id": run})
            for key in ("A", "B")[::order]:
                store.add_target(target(key))
                store.add_clean(key, [{"example": e, "label": 0, "predicted": 0} for e in (0, 1)])
            for key in ("A", "B")[::order]:
                store.add_cell(cell(f"c{key}", "pgd", key))
                outcomes = {t: [outcome(e, 1) for e in (0, 1)[::order]] for t in ("A", "B")[::order]}
                store.add_shard(f"c{key}", {"shard": 0, "first": 0, "count": 2, "run": run, "seconds": order}, outcomes)
                store.add_event(f"c{key}", run, "done", seconds=order)
            dumps.append(content(store))
    assert dumps[0] == dumps[1]
    assert len(dumps[0]["outcomes"]) == 8


# Files


def test_opening_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, advbench.store; advbench.store.Store.open(sys.argv[1]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "results.sqlite")], check=True, timeout=60)


WRITER = """
import sys
from advbench.store import Store

path, name, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
row = {"model": "m", "defenses": "none", "dataset": "d", "data_fingerprint": "d"}
cell = {"dataset": "d", "data_fingerprint": "d", "examples": "s", "count": 50, "threat": "t", "family": "t"}
with Store.open(path) as store:
    store.add_target({"key": "t", "label": "t", **row})
    for i in range(int(sys.argv[4])):
        key = f"{name}{i}"
        store.add_cell({"key": key, "attack": "a", "goal": "untargeted", "source": "t", "protocol": 2, **cell})
        outcomes = {"t": [{"example": e, "reached": 1, "predicted": 1} for e in range(50)]}
        store.add_shard(key, {"shard": 0, "first": 0, "count": 50}, outcomes)
        store.add_event(key, None, "done")
        print(i, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, "0", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_nothing_is_torn_by_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    chance = random.Random(0)
    for kill in range(5):
        process = writer(path, f"k{kill}.", 10**6)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.05 + 0.1 * chance.random())
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    with Store.open(path) as store:
        (whole,) = store.rows("SELECT count(*) AS n FROM shards")
        torn = store.rows("""
            SELECT s.cell, count(o.example) AS n FROM shards s LEFT JOIN outcomes o ON o.cell = s.cell
            GROUP BY s.cell HAVING n <> 50
        """)
        (kept,) = store.rows("SELECT count(*) AS n FROM outcomes")
        assert whole["n"] >= 5
        assert torn == []
        assert kept["n"] == 50 * whole["n"]
        assert store.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_two_writers_that_make_the_database_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    processes = [writer(path, name, 40) for name in ("x", "y", "z")]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with Store.open(path, readonly=True) as store:
        assert store.rows("SELECT count(*) AS n FROM outcomes") == [{"n": 3 * 40 * 50}]
        assert store.rows("SELECT count(*) AS n FROM cell_state WHERE status = 'done'") == [{"n": 120}]


def test_a_reader_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as store:
        begin(store)
        with store.transaction():
            store.add_note("A", "kind", "reason")
            with Store.open(path, readonly=True) as reader:
                assert reader.rows("SELECT * FROM notes") == []
        with Store.open(path, readonly=True) as reader:
            assert len(reader.rows("SELECT * FROM notes")) == 1
            with pytest.raises(AdvbenchError, match="can't be written"):
                reader.add_note("A", "other", "reason")


def old_database(path: Path) -> None:
    """As the first release left it: schema 1, with rows, and views of its time."""
    connection = sqlite3.connect(path)
    migrations.first_tables(connection)
    connection.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE VIEW fooling AS SELECT 1 AS obsolete")
    connection.execute("CREATE VIEW forgotten AS SELECT 1 AS obsolete")
    connection.executescript("""
        INSERT INTO targets (id, key, label, model, defenses, dataset, data_fingerprint)
          VALUES (1, 'A', 'a', 'a', 'none', 'digits', 'data');
        INSERT INTO clean VALUES (1, 0, 0, 0, 0.9, NULL);
        INSERT INTO example_sets VALUES ('set', 0, 0);
        INSERT INTO boards VALUES ('wide', 'digits/linf/0.3', 'digits', 'data', 'linf', 'linf', NULL, 0.3, 'set', 1,
          '["pgd"]', 1);
        INSERT INTO cells (id, key, dataset, data_fingerprint, examples, count, threat, family, eps, attack, goal,
          source, protocol)
          VALUES (1, 'c', 'digits', 'data', 'set', 1, 'linf', 'linf', 0.3, 'pgd', 'untargeted', 'A', 1);
        INSERT INTO cell_events (cell, at, status) VALUES (1, 'then', 'done');
        INSERT INTO shards (cell, shard, first, count) VALUES (1, 0, 0, 1);
        INSERT INTO judgements VALUES (1, 1, 0);
        INSERT INTO outcomes VALUES (1, 1, 0, NULL, 1, 1, 0.9, NULL, 0.3, NULL, NULL);
    """)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("step", ["configured", "migrate"])
@pytest.mark.parametrize("door", ["write", "read", "memory"])
def test_a_connection_that_is_not_made_ready_is_closed(
    door: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.sqlite"
    old_database(path)
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*args: Any, **more: Any) -> sqlite3.Connection:
        made.append(connect(*args, **more))
        return made[-1]

    def breaks(connection: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("advbench.store.connection.sqlite3.connect", remembered)
    monkeypatch.setattr(f"advbench.store.connection.{step}", breaks)
    with pytest.raises(KeyboardInterrupt):
        Store.memory() if door == "memory" else Store.open(path, readonly=door == "read")
    assert made
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("readonly", [False, True])
def test_an_older_database_is_migrated_with_its_rows(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "results.sqlite"
    old_database(path)
    before = path.read_bytes()
    with Store.open(path, readonly=readonly) as store:
        assert store.rates("fooling")[0]["fooled"] == 1
        assert store.rates("robust_accuracy")[0]["right"] == 0
        assert store.outcomes("c", "A")[0].tolerance is None
        assert store.rows("SELECT * FROM notes") == []
        if not readonly:
            store.add_note("A", "kind", "reason")
            assert store.rows("SELECT name FROM sqlite_schema WHERE name = 'forgotten'") == []
    assert (path.read_bytes() == before) == readonly
    if not readonly:
        with Store.open(path) as store:
            assert store.rows("PRAGMA user_version") == [{"user_version": SCHEMA_VERSION}]


def test_a_migration_that_fails_leaves_the_old_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.sqlite"
    old_database(path)

    def breaks(connection: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, breaks))
    with pytest.raises(KeyboardInterrupt):
        Store.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT obsolete FROM forgotten").fetchone() == (1,)
    connection.close()


def test_views_are_made_again_when_their_text_changes(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.executescript("DROP VIEW fooling; CREATE VIEW fooling AS SELECT 1 AS obsolete")
    connection.close()
    with Store.open(path, readonly=True) as store:
        assert store.rates("fooling") == []
    with Store.open(path) as store:
        assert "obsolete" not in store.rows("SELECT sql FROM sqlite_schema WHERE name = 'fooling'")[0]["sql"]


def refused(path: Path, match: str, **how: Any) -> None:
    with pytest.raises(AdvbenchError, match=match) as caught:
        Store.open(path, **how)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_database_is_refused_in_words(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "results.sqlite"
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    refused(path, f"schema 99; this one knows schemas up to {SCHEMA_VERSION}.*upgrade", readonly=readonly)


@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_not_ours_is_refused_and_left_alone(tmp_path: Path, readonly: bool) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all\n" * 100)
    refused(text, "not a SQLite database", readonly=readonly)
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    refused(other, "not one of advbench", readonly=readonly)
    assert other.read_bytes() == before
    assert text.read_text().startswith("not a database")


def test_places_that_cannot_hold_a_database(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "missing" / "results.sqlite", "does not exist")
    refused(tmp_path / "missing.sqlite", "no such database", readonly=True)
    (tmp_path / "empty.sqlite").touch()
    refused(tmp_path / "empty.sqlite", "empty", readonly=True)
    if Path("/proc/self").is_dir():
        refused(Path("/proc/results.sqlite"), "can't be opened")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_without_permission_to_write(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    Store.open(path).close()
    path.chmod(0o444)
    refused(path, "can't be (written|opened)")
    with Store.open(path, readonly=True) as store:
        assert store.rates("fooling") == []


def test_a_full_disk_is_one_line_and_leaves_whole_transactions(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        begin(store)
        store.add_cell(cell("c", "pgd", "A"))
        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(AdvbenchError, match="disk is full; free some space and run the same command again"):
            store.add_shard("c", {"shard": 0, "first": 0, "count": 9}, {"A": [outcome(e, 1) for e in range(10_000)]})
        assert not store.connection.in_transaction
        assert store.shards("c") == {}
        store.connection.execute("PRAGMA max_page_count = 100000")
        assert store.add_shard("c", {"shard": 0, "first": 0, "count": 4}, {"A": [outcome(e, 1) for e in range(4)]})


def test_a_database_locked_for_too_long_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path) as one, Store.open(path) as two:
        two.connection.execute("PRAGMA busy_timeout = 50")
        with one.transaction(), pytest.raises(AdvbenchError, match="another process has kept it locked"):
            two.begin_run({"id": "run"})
        two.begin_run({"id": "run"})


def test_an_interrupt_in_a_transaction_rolls_it_back(store: Store) -> None:
    def interrupted() -> None:
        with store.transaction():
            store.add_note("A", "kind", "reason")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.rows("SELECT * FROM notes") == []


# Artifacts


def test_artifacts_come_back_under_the_hash_of_their_content(tmp_path: Path) -> None:
    import torch

    for store in (Store.open(tmp_path / "results.sqlite"), Store.memory()):
        with store:
            tensors = {"p": torch.randn(3, 1, 2, 2).transpose(0, 1), "example": torch.arange(3)}
            sha, size = store.artifacts.put(tensors)
            assert store.artifacts.put(dict(reversed(tensors.items()))) == (sha, size)
            back = store.artifacts.get(sha)
            assert back.keys() == tensors.keys()
            assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    (file,) = (path for path in (tmp_path / "results.artifacts").rglob("*") if path.is_file())
    assert file.name == f"{file.parent.name}{file.stem[2:]}.safetensors"
    assert file.stat().st_size == size


def test_damaged_and_missing_artifacts_are_named(tmp_path: Path) -> None:
    import torch

    with Store.open(tmp_path / "results.sqlite") as store:
        sha, _ = store.artifacts.put({"p": torch.zeros(4)})
        path = store.artifacts.path(sha)
        whole = path.read_bytes()
        for damage in (whole[:-1], whole[:-1] + b"x", b"", b"<html>"):
            path.write_bytes(damage)
            with pytest.raises(AdvbenchError, match=f"{path}: damaged.*restore"):
                store.artifacts.get(sha)
        store.artifacts.put({"p": torch.zeros(4)})
        assert path.read_bytes() == whole
        path.unlink()
        with pytest.raises(AdvbenchError, match=f"{path}: missing; restore"):
            store.artifacts.get(sha)
    with Store.memory() as store, pytest.raises(AdvbenchError, match="no perturbations"):
        store.artifacts.get(sha)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_too_full_for_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: real(Path("/dev/full"), "wb"))
    with Store.open(tmp_path / "results.sqlite") as store, pytest.raises(AdvbenchError, match="disk is full"):
        store.artifacts.put({"p": torch.zeros(1 << 16)})


def test_a_folder_that_cannot_hold_artifacts(tmp_path: Path) -> None:
    import torch

    (tmp_path / "results.artifacts").write_text("in the way")
    with Store.open(tmp_path / "results.sqlite") as store, pytest.raises(AdvbenchError, match="can't be written"):
        store.artifacts.put({"p": torch.zeros(4)})


def test_a_question_in_sql_changes_nothing_and_has_an_answer(tmp_path: Path) -> None:
    with Store.open(tmp_path / "asked.sqlite") as store:
        store.connection.execute("CREATE TABLE noted (word TEXT)")
        for sql in ("INSERT INTO noted VALUES ('x') RETURNING word", "WITH one AS (SELECT 1) SELECT * FROM one"):
            assert len(store.rows(sql)) == 1
        for sql in ("INSERT INTO noted VALUES ('x')", "DELETE FROM noted"):
            with pytest.raises(ValueError, match="no answer"):
                store.rows(sql)
        assert store.rows("SELECT * FROM noted") == []
        assert store.rows("SELECT 1 AS same, 2 AS other, 3 AS same") == [{"same": 1, "other": 2}]
        with store.transaction():
            store.connection.execute("INSERT INTO noted VALUES ('kept')")
            assert store.rows("SELECT word FROM noted") == [{"word": "kept"}]
        assert store.rows("SELECT word FROM noted") == [{"word": "kept"}]


def test_a_question_that_wrote_nothing_takes_nothing_back(tmp_path: Path) -> None:
    """SQLite reads the whole schema again after a rollback that follows new tables, as `tallied` makes them."""
    with Store.open(tmp_path / "asked.sqlite") as store:
        statements: list[str] = []
        store.connection.set_trace_callback(statements.append)
        store.rows("SELECT * FROM boards")
        assert [text.partition(" ")[0] for text in statements] == ["SAVEPOINT", "SELECT", "RELEASE"]


def test_a_database_in_memory_is_closed_by_whichever_thread_collects_it() -> None:
    store = Store.memory()
    failures: list[BaseException] = []

    def close() -> None:
        try:
            store.close()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert not failures
