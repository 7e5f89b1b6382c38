"""What ranks is what the board asked for: a weaker form of an attack, or a luckier seed, is another entrant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from advbench import evaluate
from advbench.data import Examples
from advbench.evaluation.evaluation import Evaluation
from advbench.rates.aim import entrant, goal_of
from advbench.store import Store
from advbench.testing.stage import StageNet, images

SHAPE = (1, 8, 8)
COUNT = 24


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory() as store:
        yield store


def cell(store: Store, key: str, **more: Any) -> None:
    row = {"key": key, "dataset": "d", "data_fingerprint": "f", "examples": "e", "count": 1, "threat": "linf"}
    row |= {"family": "linf", "eps": 0.1, "attack": "pgd", "goal": "untargeted", "stop": "first", "source": "t"}
    store.add_cell({**row, "seed": 0, "protocol": 2, **more})
    store.add_event(key, None, "done")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({}, "pgd"),
        ({"goal": "class=3"}, "pgd → class=3"),
        ({"budget": 1}, "pgd · budget=1"),
        ({"budget": 1, "precision": "bf16"}, "pgd · budget=1 · precision=bf16"),
        (
            {"goal": "random", "stop": "end", "budget": 100, "fit": "judge"},
            "pgd → random · fit=judge · stop=end · budget=100",
        ),
        ({"fit": "calibrate"}, "pgd"),
        ({"stop": "end", "budget": 5, "protocol": 1}, "pgd"),
    ],
)
def test_the_view_names_an_entrant_as_the_board_does(store: Store, row: dict[str, Any], name: str) -> None:
    target = {"key": "t", "label": "t", "model": "t", "defenses": "none", "dataset": "d", "data_fingerprint": "f"}
    store.add_target(target)
    cell(store, "one", **row)
    (found,) = store.rows("SELECT entrant FROM cell_state")
    assert found["entrant"] == name
    if row.get("protocol", 2) == 2:
        said = {key: value for key, value in row.items() if key != "goal"}
        assert entrant("pgd", row.get("goal", "untargeted"), **said) == name
    assert goal_of(name) == row.get("goal", "untargeted")


def test_seeds_do_not_replace_each_other(store: Store) -> None:
    target = {"key": "t", "label": "t", "model": "t", "defenses": "none", "dataset": "d", "data_fingerprint": "f"}
    store.add_target(target)
    for protocol in (1, 2):
        for seed in (0, 1):
            cell(store, f"{protocol}/{seed}", seed=seed, protocol=protocol)
    found = {row["key"]: row["current"] for row in store.rows("SELECT key, current FROM cell_state")}
    assert found == {"1/0": 0, "1/1": 1, "2/0": 1, "2/1": 1}


def attacked(db: Any, **settings: Any) -> Evaluation:
    net = StageNet(SHAPE).eval()
    x = images(COUNT, SHAPE)
    labels = net(x).argmax(1)
    assert len(Examples(x, labels, labels)) == COUNT
    return evaluate(net, x, labels, threats="linf(eps=0.05)", attacks=["pgd(steps=3)"], db=db, **settings)


def test_a_seed_has_boards_of_its_own(tmp_path: Any) -> None:
    first = attacked(tmp_path / "r.sqlite")
    second = attacked(tmp_path / "r.sqlite", seed=1)
    assert list(first.robust_accuracy) == ["given/linf/0.05"]
    assert list(second.robust_accuracy) == ["given/linf/0.05/seed=1"]
    assert None not in (*first.robust_accuracy.values(), *second.robust_accuracy.values())
    assert len(second.store.boards()) == 2


def test_an_attack_that_was_cut_short_stands_beside_the_board_and_not_on_it(tmp_path: Any) -> None:
    path = tmp_path / "r.sqlite"
    honest = attacked(path)
    with Store.open(path) as store:  # as a merge without its boards brings it
        (board,) = store.boards()
        (row,) = store.cells()
        store.add_cell(replace(row, key="weak", budget=1))
        store.add_event("weak", None, "done")
        assert board.required == ["pgd(steps=3)"]
        assert {r["cell"]: r["entrant"] for r in store.rates("board_cells")} == {
            row.key: "pgd(steps=3)",
            "weak": "pgd(steps=3) · budget=1",
        }
        (ranked,) = store.rates("robust_accuracy")
        assert ranked["accuracy"] == honest.robust_accuracy["given/linf/0.05"]
