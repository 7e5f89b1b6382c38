"""Held-out images to start at: which they are, who is given them, and that nothing else shows in the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from advbench import Access, AdvbenchError, Attack, Data, Dataset, Examples, Model, Problem, Recipe, evaluate
from advbench.audit.verification import verify
from advbench.data import DataFolders
from advbench.engines.processes import Processes
from advbench.goal import Goal
from advbench.plugins.registry import Registry
from advbench.problem import bank as banks
from advbench.problem.bank import PER_CLASS, Bank
from advbench.run.report import Summary
from advbench.run.run import run
from advbench.run.session import Settings
from advbench.store import Store, content
from advbench.suite.suite import Suite, suite_from_mapping
from advbench.testing.stage import HalfSpace, images
from advbench_attacks.boundary import Boundary
from advbench_attacks.hopskipjump import HopSkipJump
from advbench_defenses.none import Undefended

SHAPE = (1, 6, 6)
PLANE = HalfSpace(SHAPE)
JUDGED, HELD_OUT = 20, 90


@dataclass(frozen=True)
class Sides(Dataset):
    """Images on both sides of a plane, in turns."""

    name = "sides"
    shape = SHAPE
    class_names = ("there", "here")

    held_out: int = HELD_OUT

    def load(self, folders: DataFolders) -> Data:
        count = JUDGED + self.held_out
        labels = torch.arange(count) % 2
        x = torch.where((labels == 1).view(-1, 1, 1, 1), PLANE.beside(count, 0.2), PLANE.beside(count, -0.2))
        every = Examples(x, labels, torch.arange(count))
        return Data(every[:0], every[JUDGED:], every[:JUDGED], "made here")

    def find(self, folders: DataFolders) -> str | None:
        return "made here"


@dataclass(frozen=True)
class Plane(Model):
    """Knows on which side an image lies."""

    name = "plane"

    def build(self, dataset: Dataset) -> nn.Module:
        return HalfSpace(SHAPE)

    def recipe(self, dataset: Dataset) -> Recipe | None:
        return None


@dataclass(frozen=True)
class Looking(Attack):
    """Remembers which images it was given to start at."""

    name = "looking"
    threats = frozenset({"l2"})
    needs = Access.LABELS
    minimizes = True
    uses_bank = True
    given: ClassVar[list[Bank]] = []

    def perturb(self, problem: Problem) -> Tensor:
        self.given.append(problem.bank)
        problem.labels(problem.start())
        return problem.start()


@dataclass(frozen=True)
class Sly(Looking):
    name = "sly"
    uses_bank = False


def registry() -> Registry:
    found = Registry()
    for attack in (Boundary(queries=400), HopSkipJump(steps=2, directions=20), Looking(), Sly()):
        found.attacks[attack.label] = attack
    found.models["plane"] = Plane()
    found.defenses["none"] = Undefended()
    found.datasets["sides"] = Sides()
    return found


DECISIONS = ["boundary(queries=400)", "hopskipjump(steps=2, directions=20)"]


def suite(**changes: Any) -> Suite:
    plain = {"data": "sides", "models": ["plane"], "attacks": DECISIONS, "threats": ["l2(eps=1)"], "goals": ["random"]}
    return suite_from_mapping({**plain, "shard": 7, **changes}, registry())


def execute(store: Store, wanted: Suite, **settings: Any) -> Summary:
    return run(wanted, store, registry(), replace(Settings(), **settings))


def outcomes(store: Store) -> list[dict[str, Any]]:
    """Every verdict, by attack and example, to the last bit of its size."""
    return store.rows(
        "SELECT c.attack, o.example, o.reached, o.predicted, o.size, o.violation FROM outcomes o "
        "JOIN cells c ON c.id = o.cell ORDER BY c.attack, o.example"
    )


@pytest.fixture
def memory() -> Iterator[Store]:
    with Store.memory() as store:
        yield store


# Which images


def part(labels: list[int], shape: tuple[int, int, int] = SHAPE) -> Data:
    held_out = Examples(images(len(labels), shape), torch.tensor(labels), torch.arange(len(labels)) + 50)
    return Data(held_out[:0], held_out, held_out[:0])


def test_of_every_class_the_first_images_are_taken_and_no_more_than_a_few() -> None:
    bank = Bank.of(part([0] * 100 + [2] * 3 + [1] * 40)).examples
    assert bank.labels.bincount().tolist() == [PER_CLASS, PER_CLASS, 3]
    expected = [*range(50, 50 + PER_CLASS), *range(153, 153 + PER_CLASS), 150, 151, 152]
    assert sorted(bank.ids.tolist()) == sorted(expected)


def test_large_images_are_fewer_and_no_class_goes_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "LARGEST", 7 * 36 * 4)
    bank = Bank.of(part([0] * 10 + [1] * 10 + [2] * 10)).examples
    assert bank.labels.bincount().tolist() == [3, 2, 2]
    assert bank.images.nbytes <= 7 * 36 * 4


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_the_nearest_image_that_promises_the_goal_comes_first_and_the_others_last(targeted: bool) -> None:
    bank = Bank(part([0, 1, 2] * 5).calibrate)
    x, goal = images(4, SHAPE, first=900), Goal(torch.tensor([0, 1, 2, 1]), targeted)
    for row, places in enumerate(bank.nearest(x, goal).tolist()):
        assert sorted(places) == list(range(15))
        promised = [bool((bank.examples.labels[k] == goal.labels[row]) == targeted) for k in places]
        assert promised == sorted(promised, reverse=True)
        distance = [float((bank.images(torch.tensor(k)) - x[row]).norm()) for k in places]
        some = sum(promised)
        assert distance[:some] == sorted(distance[:some])
        assert distance[some:] == sorted(distance[some:])


def test_bytes_and_fractions_are_the_same_images() -> None:
    whole = (255 * images(6, SHAPE)).round().to(torch.uint8)
    held_out = Examples(whole, torch.zeros(6), torch.arange(6))
    places = torch.tensor([[4, 0], [1, 1]])
    assert torch.equal(Bank(held_out).images(places), held_out.pixels()[places])
    picked = Bank(replace(held_out, images=held_out.pixels())).images(places)
    assert torch.equal(picked, held_out.pixels()[places])


# Who is given them


def test_nobody_starts_at_an_image_that_is_attacked(memory: Store) -> None:
    Looking.given.clear()
    execute(memory, suite(attacks=["looking"], goals=["untargeted", "random"]))
    data = Sides().load(DataFolders())
    assert len(Looking.given) == 2 * 3, "three shards of each goal"
    for bank in Looking.given:
        assert len(bank) == 2 * PER_CLASS
        assert set(bank.examples.ids.tolist()) <= set(data.calibrate.ids.tolist())
        same = (bank.images(torch.arange(len(bank))).unsqueeze(1) == data.judge.images).flatten(2).all(2)
        assert not same.any()


def test_who_does_not_declare_it_is_refused(memory: Store) -> None:
    ((_, reason),) = execute(memory, suite(attacks=["sly"])).failed
    assert reason == "asked for held-out images but does not declare `uses_bank = True`"


def test_readers_are_told(memory: Store) -> None:
    execute(memory, suite(goals=["untargeted"]))
    assert {row["needs"] for row in memory.rows("SELECT needs FROM cells")} == {"labels, held-out images"}


# What shows in the numbers, and what does not


def test_other_held_out_images_are_another_result(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert execute(memory, suite()).done == 2
    assert execute(memory, suite()).kept == 2
    monkeypatch.setattr(banks, "PER_CLASS", 3)
    assert execute(memory, suite()).done == 2


def test_shards_and_processes_change_no_bit(memory: Store) -> None:
    execute(memory, suite())
    found = outcomes(memory)
    assert sum(row["reached"] for row in found) == len(found) == 2 * JUDGED
    for settings, changes in (({}, {"shard": 20}), ({}, {"shard": 1}), ({"engine": Processes(fresh=True)}, {})):
        with Store.memory() as other:
            execute(other, suite(**changes), **settings)
            assert outcomes(other) == found


@pytest.mark.parametrize("asked", [3, 5])
def test_a_run_that_was_stopped_and_resumed_knows_what_a_whole_one_knows(memory: Store, asked: int) -> None:
    calls = iter([False] * asked)
    assert execute(memory, suite(), interrupted=lambda: next(calls, True)).interrupted
    execute(memory, suite())
    with Store.memory() as whole:
        execute(whole, suite())
        assert content(memory) == content(whole)


def test_verify_referees_it_again_without_a_difference(memory: Store) -> None:
    execute(memory, suite())
    cells = memory.cells()
    results = list(verify(memory, registry(), cells, folders=DataFolders(download=False), device=torch.device("cpu")))
    assert all(result.sound for result in results)
    assert [r.outcomes for r in results] == [0, *[JUDGED] * 3], "the board, clean answers and the cells"


def test_what_the_bank_is_asked_counts_against_the_budget(memory: Store) -> None:
    execute(memory, suite(budget=60))
    (most,) = memory.rows("SELECT max(forwards * 1.0 / count) AS each FROM shards")
    assert 50 < most["each"] <= 60
    assert all(row["reached"] for row in outcomes(memory))


# Where the data hold none


def test_evaluate_aims_with_held_out_images_and_says_so_where_there_are_none() -> None:
    data = Sides().load(DataFolders())
    judged, held_out = (data.judge.images, data.judge.labels), (data.calibrate.images, data.calibrate.labels)
    plain: dict[str, Any] = {"threats": "l2(eps=0.5)", "attacks": [Boundary(queries=400)], "goals": "random"}
    assert evaluate(PLANE, *judged, calibrate=held_out, **plain).rates[0]["accuracy"] == 0
    with pytest.raises(AdvbenchError, match=r"boundary.*: .* given has none; in Python give calibrate=.* goal random"):
        evaluate(PLANE, *judged, **plain)


def test_without_a_class_to_aim_at_no_held_out_image_is_needed() -> None:
    data = Sides().load(DataFolders())
    for attack in (HopSkipJump(steps=5), Boundary(queries=400)):
        found = evaluate(PLANE, data.judge.images, data.judge.labels, threats="l2(eps=0.5)", attacks=attack)
        assert found.rates[0]["accuracy"] == 0
