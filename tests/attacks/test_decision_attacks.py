"""Attacks that see labels or logits alone: on planes, whose distance is known, and where there is little to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack, Examples
from advbench.draws import Draws
from advbench.problem.bank import Bank
from advbench.problem.batches import BatchSize
from advbench.problem.problem import Problem
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import HalfSpace, StageNet, images
from advbench.threats import L2, Linf, RotateShift, Threat
from advbench_attacks.boundary import Boundary
from advbench_attacks.common.far_side import far_side, queries
from advbench_attacks.common.squares import L2Squares, LinfSquares
from advbench_attacks.hopskipjump import HopSkipJump
from advbench_attacks.noise import Noise
from advbench_attacks.random_search import Random
from advbench_attacks.square import Square

INFINITE = float("inf")


def plane_scene(threat: Threat, *, count: int = 4, side: int = 5, targeted: bool = False) -> tuple[Scene, float]:
    """Images beside a plane, and their distance from it in the geometry of the ball."""
    shape = (1, side, side)
    plane = HalfSpace(shape)
    x = torch.cat([plane.beside(count // 2, 0.2), plane.beside(count - count // 2, -0.2)])
    stage = scene(threat, targeted, shape=shape, classes=2, net=plane, x=x)
    return stage, plane.margin(threat.name, 0.2)


# Known optimum


@pytest.mark.parametrize(
    ("attack", "threat"),
    [(Boundary(), L2(INFINITE)), (HopSkipJump(), L2(INFINITE)), (HopSkipJump(), Linf(INFINITE))],
    ids=["boundary-l2", "hopskipjump-l2", "hopskipjump-linf"],
)
@pytest.mark.parametrize(
    "targeted", [False, pytest.param(True, marks=pytest.mark.exhaustive)], ids=["untargeted", "targeted"]
)
def test_the_distance_to_a_plane_is_found_within_five_percent_by_labels_alone(
    attack: Attack, threat: Threat, targeted: bool
) -> None:
    stage, optimum = plane_scene(threat, side=4, targeted=targeted)
    found = stage.sizes(attack)
    assert max(found) <= 1.05 * optimum
    assert min(found) >= optimum * (1 - 1e-5)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(
    ("threat", "beyond", "proposals"),
    [(Linf(0.1), 1.15, 1), (Linf(0.1), 1.15, 4), (L2(0.1), 1.4, 4)],
    ids=["linf-one-by-one", "linf", "l2"],
)
def test_square_crosses_a_plane_that_is_clearly_inside_the_ball_and_never_one_outside(
    threat: Threat, beyond: float, proposals: int, targeted: bool
) -> None:
    attack = Square(queries=1500, proposals=proposals)
    stage, optimum = plane_scene(threat, targeted=targeted)
    assert max(replace(stage, threat=threat.at(beyond * optimum)).sizes(attack)) < INFINITE
    attack = replace(attack, queries=200)
    assert min(replace(stage, threat=threat.at(0.99 * optimum)).sizes(attack)) == INFINITE


# Square


@pytest.mark.parametrize("queries", [1, 2, 7, 50])
@pytest.mark.parametrize("proposals", [1, 4])
def test_square_asks_no_more_often_than_it_may(queries: int, proposals: int) -> None:
    attack = Square(queries=queries, proposals=proposals)
    stage, _ = plane_scene(Linf(0.01))
    problem = stage.problem(attack)
    attack.perturb(problem)
    assert int(problem.forwards.max()) <= queries
    assert int(problem.forwards.min()) > queries - proposals


@pytest.mark.parametrize(
    ("attack", "shares"),
    [
        (Square(queries=5000), {5: 1, 6: 2, 1000: 32, 1001: 64, 4001: 512}),
        (Square(queries=5000, schedule=10_000), {10: 1, 11: 2, 1000: 16, 1001: 32, 2001: 64, 4001: 128, 4999: 128}),
    ],
    ids=str,
)
def test_squares_shrink_over_the_queries_or_as_autoattacks_do_over_ten_thousand(
    attack: Square, shares: dict[int, int]
) -> None:
    # the marks of `p_selection` in pyautoattack 0.2.0, with `resc_schedule` and without
    assert {asked: round(0.8 / attack.share(asked)) for asked in shares} == shares


def test_a_square_that_would_change_nothing_is_painted_in_the_opposite_colour() -> None:
    squares = LinfSquares.of(images(40, (1, 6, 6)).clamp(0.2, 0.8), 0.1)
    p = squares.start(Draws(0, "start", torch.arange(40)).uniform(squares.start_numbers))
    for side in (1, 2, 3):
        (patch,) = squares.propose(p, side, Draws(side, "square", torch.arange(40)).uniform(squares.numbers))
        painted = p.scatter(2, patch.where, patch.colours)
        assert (painted != p).flatten(1).any(1).all()
        assert (painted != p).sum(2).max() <= side**2


def test_every_example_gets_squares_of_its_own() -> None:
    squares = LinfSquares.of(torch.full((20, 1, 12, 12), 0.5), 0.1)
    (patch,) = squares.propose(squares.low, 2, Draws(0, "square", torch.arange(20)).uniform(squares.numbers))
    assert len(set(patch.where[:, 0, 0].tolist())) > 10


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (3, 5, 3)], ids=str)
def test_the_squares_of_the_l2_ball_use_the_whole_radius_and_no_more(shape: tuple[int, int, int]) -> None:
    squares = L2Squares.of(torch.full((30, *shape), 0.5), 0.3)
    numbers = Draws(0, "hills", torch.arange(30))
    p = squares.start(numbers.uniform(squares.start_numbers))
    for share in (0.8, 0.3, 0.1, 0.01):
        for patch in squares.propose(p, squares.side(share), numbers.uniform(squares.numbers)):
            p = p.scatter(2, patch.where, patch.colours)
        assert p.flatten(1).norm(dim=1).allclose(torch.tensor(0.3), atol=1e-4)


def test_square_is_stronger_than_as_many_random_perturbations() -> None:
    stage = scene(Linf(0.04), count=24)
    won = {attack.name: sum(size < INFINITE for size in stage.sizes(attack)) for attack in (Square(200), Random(200))}
    assert won["square"] > won["random"]


# Starts


class OnlyBlack(nn.Module):
    """Class 0 but for images that are black all over: no noise is ever wrong."""

    def forward(self, x: Tensor) -> Tensor:
        black = (x.flatten(1).amax(1) < 0.3).to(x.dtype)
        return torch.stack([0.5 - black, black - 0.5], 1)


@pytest.mark.parametrize("attack", [Boundary(), HopSkipJump()], ids=lambda attack: attack.name)
def test_an_image_that_no_noise_gets_wrong_still_has_a_start(attack: Attack) -> None:
    x = 0.4 + 0.5 * images(3, (1, 5, 5))
    stage = scene(L2(INFINITE), shape=(1, 5, 5), classes=2, net=OnlyBlack(), x=x)
    attack = replace(attack, **attack.trial)
    assert max(stage.sizes(attack)) < float(x.flatten(1).norm(dim=1).max())


class Stubborn(nn.Module):
    """Class 0, whatever is asked."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).sum(1) * 0 + 1, x.flatten(1).sum(1) * 0], 1)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("attack", [Boundary(), HopSkipJump()], ids=lambda attack: attack.name)
def test_an_image_without_a_start_comes_back_as_it_is_at_a_bounded_price(attack: Attack, targeted: bool) -> None:
    stage = scene(L2(INFINITE), targeted, shape=(1, 5, 5), classes=2, net=Stubborn(), x=images(3, (1, 5, 5)))
    problem = stage.problem(attack)
    assert not attack.perturb(problem).any()
    assert int(problem.forwards.max()) <= queries(bank=attack.name == "hopskipjump")


@pytest.mark.parametrize("attack", [Boundary(), HopSkipJump()], ids=lambda attack: attack.name)
def test_an_image_without_a_start_does_not_stop_the_others(attack: Attack) -> None:
    class NeverTwo(nn.Module):
        """Dark images are of class 0 and bright ones of class 1."""

        def forward(self, x: Tensor) -> Tensor:
            side = 10 * (x.flatten(1).mean(1) - 0.4)
            return torch.stack([-side, side, torch.full_like(side, -100.0)], 1)

    attack = replace(attack, **attack.trial)
    stage = scene(L2(INFINITE), shape=(1, 5, 5), classes=3, net=NeverTwo(), x=images(3, (1, 5, 5)))
    others = (1 - stage.labels).index_fill(0, torch.tensor([1]), 2)
    hopeless = replace(stage, labels=others, targeted=True)  # nothing is class 2
    found = hopeless.sizes(attack)
    assert found[1] == INFINITE
    assert max(found[0], found[2]) < INFINITE


@pytest.mark.parametrize("bank", [False, True], ids=["without-a-bank", "with-a-bank"])
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_a_start_is_a_success_and_its_cost_is_bounded(targeted: bool, bank: bool) -> None:
    attack = HopSkipJump()
    stage = scene(L2(INFINITE), targeted, count=6)
    problem = stage.problem(attack)
    start = far_side(problem, problem.active, problem.draws, bank=bank)
    assert start.found.all() or (targeted and not bank)
    assert torch.equal(problem.reached(start.p), start.found)
    assert int(problem.forwards.max()) <= queries(bank=bank and not targeted) + 1


# Starts at held-out images


class Striped(nn.Module):
    """Class 1 for images with bright columns among dark ones, which no noise has; class 0 for all others."""

    stripes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("stripes", torch.tensor([1.0, -1.0]).repeat(18).view(1, 6, 6) / 6)

    def contrast(self, x: Tensor) -> Tensor:
        return (x * self.stripes).flatten(1).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        side = 10 * (self.contrast(x) - 2)  # between -3 and 3; noise is within 1.5
        return torch.stack([-side, side], 1)


def striped(labels: list[int], contrasts: list[float]) -> Bank:
    """Images as bright and as dark as their contrast says, with the labels that somebody gave them."""
    x = 0.5 + torch.tensor(contrasts).view(-1, 1, 1, 1) * Striped().stripes
    return Bank(Examples(x, torch.tensor(labels, dtype=torch.int64), torch.arange(len(labels)) + 900))


def towards_stripes(threat: Threat, bank: Bank) -> tuple[Scene, Tensor]:
    """Four images that are to become striped, and the closed form of their distances from that."""
    net = Striped()
    x = 0.5 + 0.1 * (images(4, (1, 6, 6)) - 0.5)
    stage = scene(threat, shape=(1, 6, 6), classes=2, net=net, x=x)
    missing = 2 - net.contrast(x)
    optimum = missing if threat.name == "l2" else missing / net.stripes.abs().sum()
    return replace(stage, labels=1 - stage.labels, targeted=True, bank=bank), optimum


DECISIONS = pytest.mark.parametrize(
    ("attack", "threat"),
    [(Boundary(), L2(INFINITE)), (HopSkipJump(), L2(INFINITE)), (HopSkipJump(), Linf(INFINITE))],
    ids=["boundary-l2", "hopskipjump-l2", "hopskipjump-linf"],
)


@DECISIONS
def test_a_class_that_no_noise_is_of_is_reached_from_a_held_out_image_and_nearly_as_near_as_can_be(
    attack: Attack, threat: Threat
) -> None:
    stage, optimum = towards_stripes(threat, striped([1, 0, 1], [3.0, -1.0, 2.5]))
    ratio = stage.sizes(attack) / optimum
    assert 1 - 1e-5 <= float(ratio.min()) <= float(ratio.max()) <= 1.05
    assert min(replace(stage, bank=striped([], [])).sizes(attack)) == INFINITE


@DECISIONS
def test_the_networks_word_counts_and_not_the_label(attack: Attack, threat: Threat) -> None:
    attack = replace(attack, **attack.trial)
    near = [0.1 * k for k in range(15)]  # nearer, and called stripes by mistake
    for labels in ([1] * 16, [0] * 15 + [1], [1] * 15 + [0]):
        stage, _ = towards_stripes(threat, striped(labels, [*near, 2.6]))
        assert max(stage.sizes(attack)) < INFINITE


def test_what_it_takes_to_find_the_networks_images_is_counted() -> None:
    stage, _ = towards_stripes(L2(INFINITE), striped([1] * 16, [0.1 * k for k in range(15)] + [2.6]))
    problem = stage.problem(Boundary())
    start = far_side(problem, problem.active, problem.draws, bank=True)
    assert start.found.all()
    assert problem.forwards.tolist() == [16 + 5] * 4, "two rounds of eight, and the way back of the one that is there"


# Budgets


@pytest.mark.parametrize("attack", [Boundary(), HopSkipJump()], ids=lambda attack: attack.name)
def test_a_spent_budget_leaves_the_smallest_success_that_was_paid_for(attack: Attack) -> None:
    stage = scene(L2(INFINITE), count=4, net=StageNet((1, 8, 8)))
    problem = Problem(
        images=stage.images,
        goal=stage.goal,
        threat=stage.threat,
        target=stage.target,
        access=attack.needs,
        draws=Draws(0, attack.name, stage.ids),
        minimizes=True,
        budget=300,
        batch=BatchSize(64),
        bank=stage.bank,
    )
    p = problem.finish(attack.perturb(problem))
    assert int(problem.forwards.max()) <= 300
    assert all(verdict.fooled for verdict in stage.verdicts(p))
    first = stage.problem(attack)
    nearest = far_side(first, first.active, first.draws.subset(first.active), bank=attack.name == "hopskipjump")
    assert (p.flatten(1).norm(dim=1) <= nearest.p.flatten(1).norm(dim=1) + 1e-5).all()


def test_boundary_asks_no_more_often_than_it_may() -> None:
    stage = scene(L2(INFINITE), count=4)
    attack = Boundary(queries=700)
    problem = stage.problem(attack)
    attack.perturb(problem)
    assert 500 < int(problem.forwards.min()) <= int(problem.forwards.max()) <= 700


# Best of k


def test_random_fools_what_noise_fools_with_as_many_tries() -> None:
    stage = scene(Linf(0.1), count=24)
    won = [sum(size < INFINITE for size in stage.sizes(attack)) for attack in (Noise(tries=40), Random(tries=40))]
    assert won[1] >= won[0] - 2
    assert won[1] > 0


@pytest.mark.parametrize("threat", [Linf(0.01), L2(0.05), RotateShift()], ids=lambda threat: threat.name)
def test_where_random_fools_nothing_it_returns_what_came_nearest(threat: Threat) -> None:
    if threat.name == "rotate-shift":
        threat = replace(threat, eps=0.05)
    stage = scene(threat, count=6)
    margins = []
    for tries in (1, 60):
        p = stage.perturbed(Random(tries=tries))
        logits = stage.target.logits(threat.apply(stage.images, p))
        margins.append(stage.goal.margin(logits).clamp_max(0))
    assert (margins[1] >= margins[0] - 1e-4).all()
    assert (margins[1] > margins[0]).any()
