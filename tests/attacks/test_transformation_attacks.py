"""Attacks by rotation and shift: the grid is searched whole, and draws and climbs are the paper's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advbench.draws import Draws
from advbench.plugins.discovery import discover
from advbench.problem.problem import MARGIN, Problem, Stop
from advbench.suite.suite import load_suite
from advbench.testing.scene import Scene, scene, steadfast
from advbench.threats import RotateShift
from advbench_attacks.grid import Grid
from advbench_attacks.pgd import PGD
from advbench_attacks.worst_of_k import WorstOfK

DCOSTA = Path(__file__).parents[2] / "docs/suites/dcosta2019.yaml"
BALL = RotateShift(degrees=3.0, pixels=0.12)


def losses_on_the_grid(stage: Scene, angles: int, shifts: int) -> tuple[list[list[bool]], list[list[float]], Tensor]:
    """For every image and transform: whether it fools, and its loss; one image at a time, in plain loops."""
    eps = stage.threat.eps
    turns = [-eps + 2 * eps * k / (angles - 1) for k in range(angles)]
    steps = [-eps + 2 * eps * k / (shifts - 1) for k in range(shifts)]
    points = torch.tensor(list(itertools.product(turns, steps, steps)))
    hits, losses = [], []
    for x, label in zip(stage.images, stage.labels, strict=True):
        row_hits, row_losses = [], []
        for point in points:
            logits = stage.target.logits(stage.threat.apply(x[None], point[None]))
            others = logits[0].clone()
            others[label] = -torch.inf
            lead = float(logits[0, label] - others.max())
            row_hits.append((lead if stage.targeted else -lead) > MARGIN)
            loss = float(F.cross_entropy(logits, label[None]))
            row_losses.append(-loss if stage.targeted else loss)
        hits.append(row_hits)
        losses.append(row_losses)
    return hits, losses, points


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_the_grid_fools_exactly_the_images_that_a_search_of_every_transform_fools(targeted: bool) -> None:
    stage, attack = scene(BALL.at(8.0 if targeted else 1.0), targeted, count=16), Grid(angles=5, shifts=3)
    hits, losses, points = losses_on_the_grid(stage, 5, 3)
    assert 0 < sum(any(row) for row in hits) < 16, "the scene tells nothing apart"
    stops: tuple[Stop, ...] = ("first", "end")
    for stop in stops:
        problem = stage.problem(attack, Problem, stop=stop)
        p = problem.finish(attack.perturb(problem))
        assert [verdict.fooled for verdict in stage.verdicts(p)] == [any(row) for row in hits]
    for row, (hit, loss) in enumerate(zip(hits, losses, strict=True)):  # p is the one of `stop: end`
        if won := [k for k, one in enumerate(hit) if one]:
            assert torch.allclose(p[row], points[max(won, key=loss.__getitem__)], atol=1e-5)


def test_every_transform_of_the_grid_is_asked_once_about_an_image_that_nothing_fools() -> None:
    for attack in (Grid(), Grid(angles=7, shifts=3), Grid(angles=1, shifts=1)):
        stage = steadfast(BALL, targeted=False)
        problem = stage.problem(attack, Problem)
        attack.perturb(problem)
        assert problem.forwards.tolist() == [attack.passes(10)] * 6
        assert len(attack.points(problem.start()).unique(dim=0)) == attack.passes(10)


def test_an_image_that_is_fooled_leaves_the_grid_early() -> None:
    stage = scene(BALL.at(6.0), count=24)
    attack = Grid(angles=5, shifts=3)
    problem = stage.problem(attack, Problem)
    attack.perturb(problem)
    assert int(problem.forwards[problem.found].sum()) < 0.4 * 45 * int(problem.found.sum())


def test_the_grid_reaches_both_limits_of_the_ball_and_no_further() -> None:
    points = Grid().points(torch.zeros(1, 3))
    assert len(points) == 775
    assert torch.equal(points.amax(0), torch.ones(3))
    assert torch.equal(points.amin(0), -torch.ones(3))
    assert (points == 0).all(1).any(), "the image itself is one of them"


class Right(nn.Module):
    """Class 1 when what is bright has moved right by more than `edge` pixels, on average."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[-1], dtype=x.dtype) - (x.shape[-1] - 1) / 2
        centre = (x * place).flatten(1).sum(1) / x.flatten(1).sum(1).clamp_min(1e-6)
        return torch.stack((self.edge - centre, centre - self.edge), 1)


def test_a_shift_that_a_grid_of_whole_pixels_holds_is_found_and_none_beyond_it() -> None:
    x = torch.zeros(3, 1, 13, 13)
    x[:, :, 3:10, 6] = 1
    for edge, wins in ((1.9, True), (2.1, False)):
        stage = scene(RotateShift(degrees=0.0, pixels=2.0), classes=2, net=Right(edge), x=x)
        p = stage.perturbed(Grid(angles=1, shifts=5))
        assert [verdict.fooled for verdict in stage.verdicts(p)] == [wins] * 3


def test_the_suite_of_dcosta_searches_every_half_degree_and_every_pixel_as_the_paper_does() -> None:
    boards = [board for board in load_suite(str(DCOSTA), discover()).boards if isinstance(board.threat, RotateShift)]
    limits = [(board.threat.degrees, board.threat.pixels) for board in boards if isinstance(board.threat, RotateShift)]
    assert limits == [(20, 3), (10, 3), (5, 1)]
    for board, (degrees, pixels) in zip(boards, limits, strict=True):
        (grid,) = board.attacks
        assert isinstance(grid, Grid)
        assert (grid.angles, grid.shifts) == (4 * degrees + 1, 2 * pixels + 1)


def test_the_worst_of_k_is_the_transform_of_the_highest_loss() -> None:
    attack = WorstOfK(k=6)
    for stage in (steadfast(BALL, targeted=False), scene(BALL, count=12)):
        draws = Draws(0, attack.name, stage.ids)
        tried = [stage.threat.start(stage.images, draws) for _ in range(6)]
        logits = [stage.target.logits(stage.threat.apply(stage.images, p)) for p in tried]
        problem = stage.problem(attack, Problem, stop="end")
        returned = problem.finish(attack.perturb(problem))
        for row in range(len(stage.images)):
            losses = [float(F.cross_entropy(one[row : row + 1], stage.labels[row : row + 1])) for one in logits]
            fools = [k for k, one in enumerate(logits) if stage.goal.margin(one)[row] > MARGIN]
            worst = max(fools or range(6), key=losses.__getitem__)
            assert torch.equal(returned[row], tried[worst][row])


def test_five_steps_of_pgd_are_the_first_order_attack_of_the_paper() -> None:
    """Steps of a quarter of the parameters' range, along the sign of the gradient, from a random transform."""
    stage, attack = steadfast(BALL, targeted=False), PGD(steps=5)
    t = stage.threat.start(stage.images, Draws(0, attack.name, stage.ids))
    for _ in range(5):
        t.requires_grad_()
        logits = stage.target.logits(stage.threat.apply(stage.images, t))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, stage.labels, reduction="sum"), t)
        t = (t.detach() + 2 * stage.threat.eps / 4 * gradient.sign()).clamp(-stage.threat.eps, stage.threat.eps)
    assert torch.equal(attack.perturb(stage.problem(attack, Problem)), t)
