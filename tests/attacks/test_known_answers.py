"""Classifiers whose nearest boundary is known: an attack wins just outside it, and can't win just inside."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from advbench import Attack
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import BALLS, HalfSpace
from advbench.threats import L2, Linf, RotateShift, Threat
from advbench_attacks.fgsm import FGSM
from advbench_attacks.noise import Noise
from advbench_attacks.pgd import PGD

# from a random start the usual 2.5 radii of path end 9 degrees beside the nearest point of an l2 ball, and 1.3 % short
ATTACKS: list[Attack] = [FGSM(), PGD(travel=4.0)]
SHAPE = (1, 8, 8)


def plane_scene(threat: str, factor: float, targeted: bool, shape: tuple[int, int, int] = SHAPE) -> Scene:
    """Images of both sides of a plane, in a ball of `factor` times their distance from it."""
    plane, distance = HalfSpace(shape), 0.2
    eps = factor * plane.margin(threat, distance)
    x = torch.cat([plane.beside(5, distance), plane.beside(5, -distance)])
    ball: Threat = Linf(eps) if threat == "linf" else L2(eps)
    return scene(ball, targeted, shape=shape, classes=2, net=plane, x=x)


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("threat", ["linf", "l2"])
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7)], ids=str)
def test_a_plane_is_crossed_one_percent_outside_its_distance_and_never_inside(
    attack: Attack, threat: str, targeted: bool, shape: tuple[int, int, int]
) -> None:
    assert plane_scene(threat, 1.01, targeted, shape).fooled(attack).all()
    assert not plane_scene(threat, 0.99, targeted, shape).fooled(attack).any()


@pytest.mark.parametrize("threat", ["linf", "l2"])
def test_noise_never_wins_where_nothing_can(threat: str) -> None:
    assert not plane_scene(threat, 0.99, False).fooled(Noise(tries=50)).any()


class Left(nn.Module):
    """Class 1 when the bright column has moved right by more than `edge` pixels, on average."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[-1], dtype=x.dtype) - (x.shape[-1] - 1) / 2
        centre = (x * place).flatten(1).sum(1) / x.flatten(1).sum(1).clamp_min(1e-6)
        return torch.stack((self.edge - centre, centre - self.edge), 1)


class Turned(nn.Module):
    """Class 1 when the bar is turned by more than `edge` degrees, whichever way."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        row = (torch.arange(height, dtype=x.dtype) - (height - 1) / 2).unsqueeze(1)
        column = torch.arange(width, dtype=x.dtype) - (width - 1) / 2
        total = x.flatten(1).sum(1)
        # the axis of the bar, from its moments of inertia
        along, across = (x * column**2).flatten(1).sum(1) / total, (x * row**2).flatten(1).sum(1) / total
        both = (x * row * column).flatten(1).sum(1) / total
        angle = torch.rad2deg(torch.atan2(2 * both, along - across) / 2).abs()
        return torch.stack((self.edge - angle, angle - self.edge), 1)


def column(count: int = 3) -> Tensor:
    x = torch.zeros(count, 1, 13, 13)
    x[:, :, 3:10, 6] = 1
    return x


def bar(count: int = 3) -> Tensor:
    x = torch.zeros(count, 1, 25, 25)
    x[:, :, 11:14, 3:22] = 1
    return x


@pytest.mark.parametrize("attack", [PGD(steps=20), Noise(tries=200)], ids=str)
def test_a_known_shift_is_found_just_outside_and_never_inside(attack: Attack) -> None:
    for pixels, wins in ((2.1, True), (1.9, False)):
        stage = scene(RotateShift(degrees=0.0, pixels=pixels), classes=2, net=Left(2.0), x=column())
        assert stage.fooled(attack).tolist() == [wins] * 3


@pytest.mark.parametrize("attack", [PGD(steps=20), Noise(tries=200)], ids=str)
def test_a_known_rotation_is_found_just_outside_and_never_inside(attack: Attack) -> None:
    for degrees, wins in ((22.0, True), (18.0, False)):  # a turned bar is bilinear, its angle right to a degree
        stage = scene(RotateShift(degrees=degrees, pixels=0.0), classes=2, net=Turned(20.0), x=bar())
        assert stage.fooled(attack).tolist() == [wins] * 3


@pytest.mark.parametrize("attack", [*ATTACKS, Noise()], ids=str)
@pytest.mark.parametrize("name", BALLS)
def test_a_radius_of_zero_changes_no_pixel(attack: Attack, name: str) -> None:
    stage = scene(BALLS[name].at(0.0))
    p = stage.perturbed(attack)
    assert torch.equal(stage.threat.apply(stage.images, p), stage.images)
    assert not stage.fooled(attack).any()


def test_the_half_space_is_as_far_away_as_it_says() -> None:
    plane = HalfSpace(SHAPE)
    x = plane.beside(3, 0.2)
    nearest = x - 0.2 * plane.weight
    torch.testing.assert_close(plane.side(nearest - 0.5), torch.zeros(3), atol=1e-6, rtol=0)
    corner = x - plane.margin("linf", 0.2) * plane.weight.sign()
    torch.testing.assert_close(plane.side(corner - 0.5), torch.zeros(3), atol=1e-6, rtol=0)
    assert math.isclose(float(plane.weight.norm()), 1, rel_tol=1e-6)
