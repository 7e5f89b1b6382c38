"""Minimal-norm attacks against true optima that meet the box and the corners of boundaries, found by exact programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls
from torch import Tensor, nn

from advbench import Attack, evaluate
from advbench.draws import Draws
from advbench.problem.batches import BatchSize
from advbench.problem.problem import Problem
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import images
from advbench.threats import L2, Linf
from advbench_attacks.brendel_bethge import BrendelBethge
from advbench_attacks.common.corner import corner
from advbench_attacks.cw import CW
from advbench_attacks.ddn import DDN
from advbench_attacks.deepfool import DeepFool
from advbench_attacks.fab import FAB
from advbench_attacks.fmn import FMN

Rows = NDArray[np.float64]
INFINITE = float("inf")
QUICK = BrendelBethge(steps=40, targets=3, far=8)
IN_L2: list[Attack] = [
    DeepFool(),
    DeepFool(compare="every", projections=0),
    CW(),
    CW(variables="projected"),
    CW(variables="clipped"),
    DDN(),
    FMN(),
    FAB(steps=40),
    FAB(steps=40, targets=9),
    QUICK,
]
CASES = [
    (attack, norm, targeted)
    for targeted in (False, True)
    for norm in ("l2", "linf")
    for attack in IN_L2
    if norm in attack.threats and (attack.targeted or not targeted)
]
each_case = pytest.mark.parametrize(
    ("attack", "norm", "targeted"), CASES, ids=[f"{n}-{'to' if t else 'from'}-{a.label}" for a, n, t in CASES]
)


class Linear(nn.Module):
    """Classes whose logits are linear."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        pixels = shape[0] * shape[1] * shape[2]
        self.layer = nn.Linear(pixels, classes, bias=False)
        self.layer.weight = nn.Parameter(10 * Draws(5, "planes", torch.arange(classes)).normal(pixels), False)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layer((x - 0.5).flatten(1))
        return answer

    def regions(self) -> Iterator[tuple[Rows, Rows, Rows, Rows]]:
        """Where a x <= b, the logits are w x + c; here one region is everything."""
        weight = self.layer.weight.double().numpy()
        yield np.zeros((0, weight.shape[1])), np.zeros(0), weight, -0.5 * weight.sum(1)


class Folded(nn.Module):
    """One hidden layer of a few ReLUs, so few that all their patterns can be gone through."""

    def __init__(self, shape: tuple[int, int, int], classes: int, hidden: int) -> None:
        super().__init__()
        pixels = shape[0] * shape[1] * shape[2]
        self.first, self.second = nn.Linear(pixels, hidden), nn.Linear(hidden, classes)
        self.first.weight = nn.Parameter(3 * Draws(7, "first", torch.arange(hidden)).normal(pixels), False)
        self.first.bias = nn.Parameter(-0.5 * self.first.weight.sum(1) + 0.3, False)
        self.second.weight = nn.Parameter(4 * Draws(8, "second", torch.arange(classes)).normal(hidden), False)
        self.second.bias = nn.Parameter(torch.zeros(classes), False)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.second(self.first(x.flatten(1)).relu())
        return answer

    def regions(self) -> Iterator[tuple[Rows, Rows, Rows, Rows]]:
        parts = self.first.weight, self.first.bias, self.second.weight, self.second.bias
        into, bias, out, c = (part.double().numpy() for part in parts)
        for pattern in product((0.0, 1.0), repeat=len(bias)):
            on = np.array(pattern)
            side = (1 - 2 * on)[:, None]
            yield side * into, -side[:, 0] * bias, (out * on) @ into, (out * on) @ bias + c


def shortest(a: Rows, b: Rows, norm: str) -> float:
    """The least norm of d with a d <= b, infinite where there is none."""
    pixels = a.shape[1]
    if norm == "linf":
        bounded = np.vstack(
            [np.hstack([a, np.zeros((len(b), 1))])]
            + [np.hstack([sign * np.eye(pixels), -np.ones((pixels, 1))]) for sign in (1, -1)]
        )
        cost = np.append(np.zeros(pixels), 1)
        found = linprog(cost, bounded, np.append(b, np.zeros(2 * pixels)), bounds=[(None, None)] * pixels + [(0, None)])
        return float(found.fun) if found.status == 0 else INFINITE
    # least distance programming (Lawson and Hanson, 1974, chapter 23): exact, by nonnegative least squares
    stacked = np.vstack([-a.T, -b[None]])
    unit = np.append(np.zeros(pixels), 1)
    weights, _ = nnls(stacked, unit, maxiter=100 * len(b))
    rest = stacked @ weights - unit
    if np.linalg.norm(rest) < 1e-7:
        return INFINITE
    return float(np.linalg.norm(rest[:-1] / rest[-1]))


def optimum(net: Linear | Folded, x: Tensor, label: int, aim: int | None, norm: str) -> float:
    """How far it is to where the goal is reached, within the box: the least over all regions and classes."""
    image = x.flatten().double().numpy()
    pixels, best = len(image), INFINITE
    for a, b, w, c in net.regions():
        for winner in range(len(c)) if aim is None else [aim]:
            if winner == label and aim is None:
                continue
            losers = [label] if aim is None else [k for k in range(len(c)) if k != aim]
            rows = np.vstack([a, w[losers] - w[winner], np.eye(pixels), -np.eye(pixels)])
            sides = np.concatenate([b, c[winner] - c[losers], np.ones(pixels), np.zeros(pixels)])
            best = min(best, shortest(rows, sides - rows @ image, norm))
    return best


@dataclass(frozen=True)
class Known:
    """Images whose optimum is known."""

    stage: Scene
    best: Tensor

    def ratios(self, attack: Attack) -> Tensor:
        """What the referee measured over the optimum; infinite where the goal is not reached though it could be."""
        verdicts = self.stage.verdicts(self.stage.perturbed(attack))
        assert not any(verdict.violation for verdict in verdicts)
        found = torch.tensor([verdict.size if verdict.fooled else INFINITE for verdict in verdicts])
        possible = self.best.isfinite()
        assert found[~possible].isinf().all()
        assert possible.float().mean() > 0.5
        return found[possible] / self.best[possible]


@cache
def among_planes(classes: int, greys: bool, norm: str, targeted: bool) -> Known:
    """Ten images in front of linear classes: greys far from the box, or half of the pixels black or white."""
    shape = 1, 5, 5
    x = 0.5 + 0.1 * (images(10, shape) - 0.5) if greys else meeting_the_box(10, shape)
    return known(Linear(shape, classes), x, classes, norm, targeted)


@cache
def among_folds(norm: str, targeted: bool) -> Known:
    """Eight images in front of a net of ReLUs."""
    shape = 1, 2, 3
    return known(Folded(shape, 3, 5), meeting_the_box(8, shape), 3, norm, targeted)


def known(net: Linear | Folded, x: Tensor, classes: int, norm: str, targeted: bool) -> Known:
    shape = x.shape[1], x.shape[2], x.shape[3]
    ball = Linf(INFINITE) if norm == "linf" else L2(INFINITE)
    stage = scene(ball, targeted, shape=shape, classes=classes, net=net, x=x)
    labels = net(x).argmax(1).tolist()
    aims = stage.labels.tolist() if targeted else [None] * len(x)
    best = [optimum(net, image, y, t, norm) for image, y, t in zip(x, labels, aims, strict=True)]
    assert min(best) > 0
    return Known(stage, torch.tensor(best))


def meeting_the_box(count: int, shape: tuple[int, ...]) -> Tensor:
    """Half of the pixels are black or white, as digits are."""
    x = images(count, shape)
    return torch.where(x < 0.3, 0.0, torch.where(x > 0.7, 1.0, x))


@pytest.mark.parametrize("greys", [True, False], ids=["greys", "black-and-white"])
@pytest.mark.parametrize(
    "classes", [pytest.param(2, marks=pytest.mark.exhaustive), 3, pytest.param(10, marks=pytest.mark.exhaustive)]
)
@each_case
def test_among_linear_classes_the_optimum_is_met_within_one_percent(
    attack: Attack, norm: str, targeted: bool, classes: int, greys: bool
) -> None:
    ratio = among_planes(classes, greys, norm, targeted).ratios(attack)
    assert float(ratio.min()) > 0.9999
    assert float(ratio.max()) < 1.01


@each_case
def test_no_attack_on_a_net_of_relus_claims_less_than_the_optimum_over_all_its_regions(
    attack: Attack, norm: str, targeted: bool
) -> None:
    ratio = among_folds(norm, targeted).ratios(attack)
    assert float(ratio.min()) > 0.9999
    assert float(ratio.median()) < 1.02


@each_case
def test_only_what_is_wrong_already_has_size_zero(attack: Attack, norm: str, targeted: bool) -> None:
    stage = among_planes(4, False, norm, targeted).stage[:6]
    there = torch.arange(6) % 2 == 0
    predicted = stage.target.logits(stage.images).argmax(1)
    reached = predicted if targeted else (predicted + 1) % 4
    stage = replace(stage, labels=torch.where(there, reached, stage.labels))
    verdicts = stage.verdicts(stage.perturbed(replace(attack, **attack.trial)))
    assert [verdict.size == 0 and verdict.fooled for verdict in verdicts] == there.tolist()


@pytest.mark.parametrize("budget", [5, 30, 100])
@pytest.mark.parametrize("attack", IN_L2, ids=lambda attack: attack.label)
def test_a_budget_that_is_spent_on_the_way_costs_no_cell(attack: Attack, budget: int) -> None:
    stage = scene(L2(INFINITE), count=4)
    problem = Problem(
        images=stage.images,
        goal=stage.goal,
        threat=stage.threat,
        target=stage.target,
        access=attack.needs,
        draws=Draws(0, attack.name, stage.ids),
        minimizes=True,
        budget=budget,
        batch=BatchSize(64),
    )
    verdicts = stage.verdicts(problem.finish(attack.perturb(problem)))
    assert int(problem.forwards.max()) <= budget
    assert all(verdict.fooled for verdict in verdicts) or budget < 30


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(("pixels", "planes"), [(6, 2), (30, 9), (90, 5)])
def test_the_nearest_point_beyond_several_planes_in_a_box_is_that_of_an_exact_program(
    norm: str, pixels: int, planes: int
) -> None:
    x = meeting_the_box(8, (pixels,))
    normals = Draws(4, "normals", torch.arange(8)).normal(planes, pixels) + 0.3
    there = Draws(4, "there", torch.arange(8)).uniform(pixels) - x  # in the box, so that there is an answer
    gains = (normals @ there.unsqueeze(2)).squeeze(2)
    move = corner(normals, gains, -x, 1 - x, norm)
    assert bool((move >= -x).all() and (move <= 1 - x).all())
    assert float((gains - (normals @ move.unsqueeze(2)).squeeze(2)).max()) < 1e-4
    size = move.abs().amax(1) if norm == "linf" else move.norm(dim=1)
    for image, g, b, found in zip(x.double().numpy(), normals.double().numpy(), gains.numpy(), size, strict=True):
        rows = np.vstack([-g, np.eye(pixels), -np.eye(pixels)])
        best = shortest(rows, np.concatenate([-b, 1 - image, image]), norm)
        assert 0.9999 * best <= float(found) <= 1.005 * best + 1e-6


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_planes_behind_the_box_or_without_a_slope_give_a_move_in_the_box(norm: str) -> None:
    x = images(3, (20,))
    normals = Draws(6, "normals", torch.arange(3)).normal(4, 20)
    normals[1] = 0
    normals[2, 0] = torch.nan
    move = corner(normals, torch.full((3, 4), 1e3), -x, 1 - x, norm)
    assert bool((move >= -x).all() and (move <= 1 - x).all())


@pytest.mark.slow
def test_on_a_robust_network_the_defaults_of_brendel_bethge_end_a_tenth_nearer_than_its_quick_form() -> None:

    def sizes(attack: Attack) -> Tensor:
        found = evaluate(
            "small-cnn",
            dataset="mnist-5k",
            defenses="adversarial-training",
            threats=[L2(2.0)],
            attacks=[attack],
            examples=12,
        )
        stored = torch.tensor([row["size"] for row in found.store.rows("SELECT size FROM outcomes ORDER BY example")])
        return stored[stored > 0]  # one is wrong when clean

    strong, quick = sizes(BrendelBethge()), sizes(QUICK)
    assert len(strong) == len(quick) == 11
    assert float(strong.log().mean().exp()) < 0.92 * float(quick.log().mean().exp())
    assert bool((strong < 1.02 * quick).all()), "no image is much farther for the longer walk"
