"""Minimal-norm attacks on classifiers whose nearest boundary is known, and the projections that they step with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack
from advbench.draws import Draws
from advbench.goal import Goal
from advbench.problem.batches import BatchSize
from advbench.problem.problem import Problem
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import StageNet, images
from advbench.threats import L2, Linf, Threat
from advbench_attacks.brendel_bethge import BrendelBethge, towards_image, within_bound
from advbench_attacks.common.hyperplane import nearest
from advbench_attacks.ddn import DDN
from advbench_attacks.fab import FAB
from advbench_attacks.fmn import FMN

SHAPE = (1, 6, 6)
CLASSES = 5
INFINITE = float("inf")
L2_ATTACKS: list[Attack] = [
    DDN(),
    FMN(),
    FAB(steps=20),
    FAB(steps=20, targets=9),
    BrendelBethge(steps=20, targets=3, far=8),
]
ATTACKS = [("l2", attack) for attack in L2_ATTACKS]
ATTACKS += [("linf", attack) for attack in L2_ATTACKS if "linf" in attack.threats]
each_attack = pytest.mark.parametrize(("norm", "attack"), ATTACKS, ids=[f"{norm}-{a}" for norm, a in ATTACKS])


class Linear(nn.Module):
    """Classes whose logits are linear: every margin is known in closed form where the box does not bind."""

    weight: Tensor

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.register_buffer("weight", Draws(0, "planes", torch.arange(classes)).normal(36))

    def forward(self, x: Tensor) -> Tensor:
        return 20 * (x - 0.5).flatten(1) @ self.weight.T

    def distances(self, x: Tensor, labels: Tensor, norm: str) -> Tensor:
        """To the plane of every class, infinite for the label's own."""
        logits = self(x)
        gaps = logits.gather(1, labels.view(-1, 1)) - logits
        normals = 20 * (self.weight.unsqueeze(0) - self.weight[labels].unsqueeze(1))
        length = normals.abs().sum(2) if norm == "linf" else normals.norm(dim=2)
        return (gaps / length).scatter(1, labels.view(-1, 1), torch.inf)


class Creased(nn.Module):
    """Two classes apart by max(a·x, b·x): of class 1 where either half-space says so, the nearer of which is known."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", Draws(3, "planes", torch.arange(2)).normal(36))
        self.register_buffer("bias", torch.tensor([0.9, 1.1]))

    def sides(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight.T - self.bias

    def forward(self, x: Tensor) -> Tensor:
        score = 10 * self.sides(x).amax(1)
        return torch.stack((torch.zeros_like(score), score), 1)

    def distance(self, x: Tensor, norm: str) -> Tensor:
        length = self.weight.abs().sum(1) if norm == "linf" else self.weight.norm(dim=1)
        return (-self.sides(x) / length).amin(1)


def ball(norm: str, eps: float = INFINITE) -> Threat:
    return Linf(eps) if norm == "linf" else L2(eps)


def greys(count: int) -> Tensor:
    """Images far from black and white, so that no boundary lies behind the box."""
    return 0.5 + 0.1 * (images(count, SHAPE) - 0.5)


@each_attack
def test_the_nearest_of_several_planes_is_found_within_one_percent(norm: str, attack: Attack) -> None:
    net, x = Linear(), greys(12)
    stage = scene(ball(norm), shape=SHAPE, classes=CLASSES, net=net, x=x)
    optimum = net.distances(x, stage.labels, norm).amin(1)
    found = stage.sizes(attack) / optimum
    assert found.min() >= 0.999
    assert found.max() <= 1.01


@each_attack
def test_the_plane_of_a_chosen_class_is_found_within_one_percent(norm: str, attack: Attack) -> None:
    net, x = Linear(2), greys(8)
    stage = scene(ball(norm), True, shape=SHAPE, classes=2, net=net, x=x)
    optimum = net.distances(x, 1 - stage.labels, norm).amin(1)
    found = stage.sizes(attack) / optimum
    assert found.min() >= 0.999
    assert found.max() <= 1.01


@each_attack
def test_nothing_smaller_than_the_optimum_is_claimed_where_boundaries_have_creases(norm: str, attack: Attack) -> None:
    net = Creased()
    x = greys(24)
    x = x[net(x).argmax(1) == 0]
    optimum = net.distance(x, norm)
    found = scene(ball(norm), shape=SHAPE, classes=2, net=net, x=x).sizes(attack) / optimum
    assert found.min() >= 0.999
    # the nearer half-space is that of the larger score only for some images
    assert found.median() <= 1.01
    assert found.max() <= 2


@each_attack
def test_an_image_that_is_wrong_already_has_size_zero(norm: str, attack: Attack) -> None:
    stage = scene(ball(norm), shape=SHAPE, classes=CLASSES, net=Linear(), x=greys(6))
    wrong = torch.arange(6) % 2 == 0
    stage = replace(stage, labels=torch.where(wrong, (stage.labels + 1) % CLASSES, stage.labels))
    found = stage.sizes(attack)
    assert (found[wrong] == 0).all()
    assert (found[~wrong] > 0).all()


@each_attack
def test_images_at_the_edges_of_the_box_are_left_by_no_step(norm: str, attack: Attack) -> None:
    x = torch.stack([torch.zeros(SHAPE), torch.ones(SHAPE), images(1, SHAPE)[0].round()])
    stage = scene(ball(norm), shape=SHAPE, classes=CLASSES, net=StageNet(SHAPE, CLASSES), x=x)
    assert stage.sizes(attack).isfinite().any()


# Targeted FAB inside a radius, as `autoattack` uses it


def inside(attack: Attack, stage: Scene, eps: float, stop: str) -> tuple[list[bool], Problem]:
    problem = Problem(
        images=stage.images.clone(),
        goal=Goal(stage.labels, stage.targeted),
        threat=stage.threat.at(eps),
        target=stage.target,
        access=attack.needs,
        draws=Draws(0, attack.name, stage.ids),
        stop=stop,  # type: ignore[arg-type]
        batch=BatchSize(8),
    )
    p = problem.finish(attack.perturb(problem))
    verdicts = replace(stage, threat=stage.threat.at(eps)).verdicts(p)
    assert not any(verdict.violation for verdict in verdicts)
    return [verdict.fooled for verdict in verdicts], problem


@pytest.mark.parametrize("stop", ["first", "end"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("attack", [FAB(steps=15, restarts=2), FAB(steps=15, targets=4, restarts=2)], ids=str)
def test_inside_a_radius_only_successes_within_it_count(norm: str, attack: Attack, stop: str) -> None:
    net, x = Linear(), greys(10)
    stage = scene(ball(norm), shape=SHAPE, classes=CLASSES, net=net, x=x)
    optimum = net.distances(x, stage.labels, norm).amin(1)
    eps = float(optimum.sort().values[4]) * 1.01
    fooled, problem = inside(attack, stage, eps, stop)
    assert fooled == (optimum < eps).tolist()
    if stop == "first":
        assert len(problem.active) == len(x) - sum(fooled)


def test_examples_that_have_left_cost_fab_no_pass() -> None:
    net, x = Linear(), greys(10)
    stage = scene(ball("linf"), shape=SHAPE, classes=CLASSES, net=net, x=x)
    attack = FAB(steps=15, targets=4)
    _, problem = inside(attack, stage, 1.0, "first")
    assert problem.done
    assert int(problem.forwards.max()) <= 1 + 2 * 4 * 5


# The geometry


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_nearest_point_of_a_plane_in_the_box_is_that_of_a_search_over_its_length(norm: str) -> None:
    count, pixels = 20, 30
    normal = Draws(1, "normal", torch.arange(count)).normal(pixels)
    normal[:, 3] = 0
    point = images(count, (pixels,))
    low, high = -point, 1 - point
    most = torch.maximum(normal * low, normal * high).sum(1)
    gain = most * torch.linspace(0.01, 0.99, count)
    gain[::3] *= -1
    gain[::3] *= (torch.minimum(normal * low, normal * high).sum(1) / -most)[::3]
    move = nearest(normal, gain, low, high, norm)
    torch.testing.assert_close((move * normal).sum(1), gain, rtol=1e-4, atol=1e-4)
    assert (move >= low - 1e-6).all()
    assert (move <= high + 1e-6).all()
    # by bisection over the multiplier, in float64
    direction = (normal.sign() if norm == "linf" else normal).double() * gain.sign().unsqueeze(1)
    short, long = torch.zeros(count, 1).double(), torch.full((count, 1), 1e6).double()
    for _ in range(80):
        middle = (short + long) / 2
        reached = ((direction * middle).clamp(low.double(), high.double()) * normal).sum(1).abs() >= gain.abs()
        short = torch.where(reached.view(-1, 1), short, middle)
        long = torch.where(reached.view(-1, 1), middle, long)
    torch.testing.assert_close(move.double(), (direction * long).clamp(low, high), rtol=1e-3, atol=1e-4)


def test_a_plane_behind_the_box_gives_the_corner_that_gains_most() -> None:
    normal = torch.tensor([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]])
    point = torch.tensor([[0.25, 0.5, 0.5], [0.25, 0.5, 0.5]])
    move = nearest(normal, torch.tensor([100.0, 1.0]), -point, 1 - point, "l2")
    assert torch.equal(move, torch.tensor([[0.75, -0.5, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_walks_step_stays_on_the_plane_in_the_box_and_in_the_trust_region(norm: str) -> None:
    x = images(12, (40,))
    p = Draws(2, "p", torch.arange(12)).uniform(40) - x
    normal = Draws(2, "normal", torch.arange(12)).normal(40)
    trust = torch.full((12, 1), 0.5)
    step = within_bound if norm == "linf" else towards_image
    z = step(p, torch.zeros(12), normal, trust, -x, 1 - x)
    torch.testing.assert_close((z * normal).sum(1), (p * normal).sum(1), rtol=0, atol=2e-3)
    assert ((z - p).norm(dim=1) <= 0.5 + 1e-4).all()
    assert (z + x >= -1e-6).all()
    assert (z + x <= 1 + 1e-6).all()
    before, after = (q.abs().amax(1) if norm == "linf" else q.norm(dim=1) for q in (p, z))
    assert (after <= before + 1e-5).all()
    assert (after < 0.99 * before).float().mean() > 0.5
