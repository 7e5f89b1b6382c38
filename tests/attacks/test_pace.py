"""Who of a minimal-norm search goes faster and leaves, and which walks go on."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from advbench import Attack
from advbench.draws import Draws
from advbench.goal import Goal
from advbench.problem.problem import Problem
from advbench.testing.scene import scene
from advbench.testing.stage import images
from advbench.threats import L2, Linf
from advbench_attacks.brendel_bethge import BrendelBethge, shortest
from advbench_attacks.common.pace import FAST, WINDOW, Pace, annealed
from advbench_attacks.ddn import DDN
from advbench_attacks.fmn import FMN

LOOKING: Any = SimpleNamespace(staying=lambda wanted: wanted.nonzero().squeeze(1))
"""A problem that may look at any time."""


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1)


def passes(attack: Attack, count: int = 6) -> tuple[list[int], list[float]]:
    stage = scene(Linf(math.inf) if attack.name == "fmn" else L2(math.inf), count=count, x=images(count, (1, 8, 8)))
    problem = Problem(
        images=stage.images,
        goal=Goal(stage.labels),
        threat=stage.threat,
        target=stage.target,
        access=attack.needs,
        draws=Draws(0, attack.name, stage.ids),
        minimizes=True,
    )
    p = problem.finish(attack.perturb(problem))
    return problem.backwards.tolist(), stage.threat.size(stage.images, p).tolist()


@pytest.mark.parametrize(("hurried", "patient"), [(DDN(), DDN(settled=0)), (FMN(), FMN(settled=0))], ids=["ddn", "fmn"])
def test_who_has_settled_leaves_with_passes_unspent_and_no_larger_norm(hurried: Attack, patient: Attack) -> None:
    spent, sizes = passes(hurried)
    every, patiently = passes(patient)
    assert min(every) == max(every) >= 100, "with settled=0 nobody leaves"
    assert sum(spent) < 0.8 * sum(every)
    assert all(size <= 1.01 * other for size, other in zip(sizes, patiently, strict=True))


@pytest.mark.parametrize("attack", [DDN(steps=40), FMN(steps=40)], ids=["ddn", "fmn"])
def test_when_an_example_leaves_does_not_depend_on_its_company(attack: Attack) -> None:
    spent, sizes = passes(attack, count=6)
    fewer, same = passes(attack, count=3)
    assert spent[:3] == fewer
    assert sizes[:3] == same


def test_who_gains_little_goes_faster_and_who_gains_or_has_nothing_does_not() -> None:
    pace = Pace(20, 0.02, column(0, 0, 0))
    sizes = pace.falling(1, 0)
    for step in range(WINDOW):
        pace.saw(column(1, 1, 0).bool(), column(1, 2, 9))
        assert pace.left(step, LOOKING) is None
    for step in range(WINDOW, 2 * WINDOW):
        pace.saw(column(1, 1, 0).bool(), column(0.999, 1.9, 9))
        assert pace.left(step, LOOKING) is None
    assert pace.of_rows(sizes).flatten().tolist() == pytest.approx([annealed(1, 0, 10, 20)] * 3)
    pace.saw(column(0, 1, 0).bool(), column(0, 1.8, 9))
    pace.left(2 * WINDOW, LOOKING)
    places = [10 + FAST, 11, 11]
    assert pace.of_rows(sizes).flatten().tolist() == pytest.approx([annealed(1, 0, place, 20) for place in places])
    for step in range(2 * WINDOW + 1, 3 * WINDOW - 1):
        assert pace.left(step, LOOKING) is None
    left = pace.left(3 * WINDOW - 1, LOOKING)
    assert left is not None
    assert left.tolist() == [1, 2], "the first is through, and leaves"
    assert pace.best.flatten().tolist() == pytest.approx([1.8, math.inf])


def test_the_nearest_walks_of_every_example_go_on() -> None:
    of = torch.tensor([0, 1, 0, 0, 1, 2])
    size = torch.tensor([3.0, 1.0, 1.0, 2.0, 0.5, 9.0])
    assert shortest(size, of, 2).tolist() == [1, 2, 3, 4, 5]
    assert shortest(size, of, 1).tolist() == [2, 4, 5]
    assert shortest(size, of, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_walks_that_end_early_cost_nothing_more() -> None:
    few, _ = passes(BrendelBethge(steps=20, targets=2, far=4, clean=5, kept=1), count=3)
    every, _ = passes(BrendelBethge(steps=20, targets=2, far=4, clean=5, kept=3), count=3)
    assert [b - a for a, b in zip(few, every, strict=True)] == [2 * 17] * 3, "two of three walks, all but 3 of 20 steps"
