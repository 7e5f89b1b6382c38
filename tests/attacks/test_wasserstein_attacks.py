"""The attacks on transport plans: linear programs and generic solvers tell how far from the optimum they end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from scipy.special import lambertw
from torch import Tensor, nn

from advbench import Attack, evaluate
from advbench.plugins.discovery import discover
from advbench.suite.suite import load_suite
from advbench.testing.scene import Scene, scene
from advbench.testing.stage import StageNet
from advbench.threats import Wasserstein
from advbench_attacks.common.entropic import Window, furthest_by_sinkhorn, lambert, nearest_by_sinkhorn
from advbench_attacks.frank_wolfe import FrankWolfe
from advbench_attacks.sinkhorn import Sinkhorn
from advbench_attacks.wasserstein_pgd import WassersteinPGD, falling

SUITES = sorted((Path(__file__).parents[2] / "docs/suites").glob("wong2019*.yaml"))
BALLS = [Wasserstein(0.2, kernel=3), Wasserstein(0.5, kernel=5, power=2.0), Wasserstein(1.0, kernel=3)]
FEW = [BALLS[0], pytest.param(BALLS[1], marks=pytest.mark.slow), pytest.param(BALLS[2], marks=pytest.mark.exhaustive)]
QUICK: list[Attack] = [
    WassersteinPGD(steps=8),
    FrankWolfe(steps=8),
    Sinkhorn(steps=3),
    Sinkhorn(direction="conjugate", steps=3),
]


class Slope(nn.Module):
    """Two classes, the second the higher the more light lies where `weight` is high; never as high as the first."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        height = self.climbed(x)
        return torch.stack((torch.full_like(height, 200.0), height), 1)

    def climbed(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1)


class Move(NamedTuple):
    """What a plan may do: the pixel that sends, the place of the window, the pixel that receives, the price."""

    source: int
    place: int
    arrival: int
    price: float


def moves(threat: Wasserstein, x: Tensor) -> list[Move]:
    """All of them for one image of one channel, written out one by one."""
    height, width = x.shape[-2:]
    reach = range(-(threat.kernel // 2), threat.kernel // 2 + 1)
    found = []
    for i, j in product(range(height), range(width)):
        for place, (down, right) in enumerate(product(reach, reach)):
            if x.view(height, width)[i, j] > 0 and 0 <= i + down < height and 0 <= j + right < width:
                price = (down**2 + right**2) ** (threat.power / 2)
                found.append(Move(i * width + j, place, (i + down) * width + j + right, price))
    return found


class Limits(NamedTuple):
    """Matrices: each times the amounts of all moves."""

    sent: np.ndarray
    came: np.ndarray
    price: np.ndarray


def limits(allowed: list[Move], pixels: int) -> Limits:
    sent, came = np.zeros((pixels, len(allowed))), np.zeros((pixels, len(allowed)))
    sent[[move.source for move in allowed], np.arange(len(allowed))] = 1
    came[[move.arrival for move in allowed], np.arange(len(allowed))] = 1
    return Limits(sent, came, np.array([move.price for move in allowed]))


def highest(threat: Wasserstein, x: Tensor, weight: Tensor, *, white: bool) -> float:
    """The greatest height in the ball by HiGHS; with `white`, no pixel may exceed 1."""
    allowed = moves(threat, x)
    sent, came, price = limits(allowed, x.numel())
    gain = came.T @ weight.flatten().numpy()
    mass = x.flatten().numpy()
    rows = np.vstack([price, came]) if white else price[None]
    most = np.append(threat.eps * mass.sum(), np.ones(x.numel()) if white else [])
    found = linprog(-gain, A_ub=rows, b_ub=most, A_eq=sent, b_eq=mass, method="highs")
    assert found.status == 0
    return float(-found.fun)


def slope(threat: Wasserstein, brightness: float, seed: int) -> tuple[Scene, Slope]:
    generator = torch.Generator().manual_seed(seed)
    x = (1.3 * torch.rand(4, 1, 5, 6, generator=generator, dtype=torch.float64) - 0.3).clamp(0, 1) * brightness
    net = Slope(torch.randn(1, 5, 6, generator=generator, dtype=torch.float64))
    return scene(threat, shape=(1, 5, 6), classes=2, net=net, x=x), net


def shortfalls(attack: Attack, threat: Wasserstein, brightness: float, *, white: bool) -> list[float]:
    """Which share of the way from each image to its linear program's optimum an attack leaves."""
    found = []
    for seed in (0,):
        stage, net = slope(threat, brightness, seed)
        p = stage.perturbed(attack)
        images = threat.apply(stage.images, p)
        assert (threat.size(stage.images, p) <= threat.eps + threat.tolerance).all()
        assert threat.coordinates(stage.images, p).max() <= 1e-9
        assert images.min() >= 0
        assert images.max() <= 1 + 1e-6
        for x, before, after in zip(stage.images, net.climbed(stage.images), net.climbed(images), strict=True):
            best = highest(threat, x, net.weight, white=white)
            found.append(1 - (after - before).item() / (best - before.item()))
    assert min(found) > -1e-6, "better than the optimum"
    return found


@pytest.mark.parametrize("threat", FEW, ids=lambda ball: f"{ball.family}-{ball.eps}")
@pytest.mark.parametrize("attack", [WassersteinPGD(steps=160), FrankWolfe()], ids=str)
def test_where_no_pixel_gets_full_the_optimum_of_the_linear_program_is_reached(
    attack: Attack, threat: Wasserstein
) -> None:
    assert max(shortfalls(attack, threat, 0.1, white=False)) <= 0.01


@pytest.mark.parametrize("threat", FEW, ids=lambda ball: f"{ball.family}-{ball.eps}")
@pytest.mark.parametrize(
    ("attack", "mean", "most"), [(WassersteinPGD(steps=160), 0.005, 0.01), (FrankWolfe(), 0.07, 0.12)], ids=str
)
def test_where_pixels_get_full_the_optimum_within_white_is_reached_or_nearly(
    attack: Attack, mean: float, most: float, threat: Wasserstein
) -> None:
    found = shortfalls(attack, threat, 1.0, white=True)
    assert np.mean(found) <= mean
    assert max(found) <= most


@pytest.mark.parametrize("brightness", [pytest.param(0.1, marks=pytest.mark.exhaustive), 1.0])
@pytest.mark.parametrize("direction", ["sign", "conjugate"])
def test_projected_sinkhorn_stays_in_the_ball_and_climbs_but_leaves_much(direction: str, brightness: float) -> None:
    found = shortfalls(Sinkhorn(direction=direction, steps=20), BALLS[1], brightness, white=True)
    assert max(found) < 0.9
    assert np.mean(found) > 0.02, "as good as an exact attack: say so in the documentation"


@pytest.mark.parametrize("scale", [0.1, 0.5])
@pytest.mark.parametrize("eps", [0.05, 0.3, 1.0])
def test_projection_is_nearly_the_nearest_plan_within_budget_and_white(eps: float, scale: float) -> None:
    threat = Wasserstein(eps, kernel=3)
    full = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        x = (1.6 * torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64) - 0.4).clamp(0, 1)
        x[..., 1, 1] = 1
        still = threat.identity(x)
        wanted = still + scale * x.unsqueeze(1) * torch.randn(still.shape, generator=generator, dtype=torch.float64)
        allowed = moves(threat, x)
        sent, came, price = limits(allowed, 9)
        mass = x.flatten().numpy()
        own, budget = np.array([mass[move.source] for move in allowed]), eps * mass.sum()

        def listed(plan: Tensor, allowed: list[Move] = allowed) -> np.ndarray:
            flat = plan.flatten(2)[0, :].flatten(1)
            return np.array([flat[move.place, move.source].item() for move in allowed])

        aim = listed(wanted)

        def far(q: np.ndarray, aim: np.ndarray = aim, own: np.ndarray = own) -> float:
            return float(((q - aim) ** 2 / own).sum())

        best = minimize(
            far,
            listed(still),
            jac=lambda q, aim=aim, own=own: 2 * (q - aim) / own,
            bounds=[(0, None)] * len(allowed),
            constraints=[
                {"type": "eq", "fun": lambda q, a=sent[mass > 0], b=mass[mass > 0]: a @ q - b},
                {"type": "ineq", "fun": lambda q, a=price, b=budget: b - a @ q},
                {"type": "ineq", "fun": lambda q, a=came: 1 - a @ q},
            ],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert best.success
        full.append((came @ best.x).max() > 1 - 1e-6)
        p = threat.project(x, wanted)
        assert threat.apply(x, p).max() <= 1 + 1e-6
        assert (1 - 1e-6) * best.fun <= far(listed(p)) <= 1.02 * best.fun
    assert any(full), "no pixel's limit was tried"


def test_projection_lets_go_of_a_place_that_is_full_in_favour_of_the_next_best() -> None:
    threat = Wasserstein(1.0, kernel=3)
    x = torch.zeros(1, 1, 1, 3, dtype=torch.float64)
    x[..., 0], x[..., 1] = 0.6, 0.8
    wanted = threat.identity(x)
    wanted[0, 5, 0, 0, 0], wanted[0, 4, 0, 0, 0] = 0.3, 0.3  # 1.1 in the middle: 0.1 too much
    p = threat.project(x, wanted)
    # by hand: a less comes, r more leaves to both sides, a + r = 0.1, and 2 a² / 0.6 + 1.5 r² / 0.8 is least
    a = 0.1 * 3.75 / (3.75 + 4 / 0.6)
    plan = {(5, 0): 0.3 - a, (4, 0): 0.3 + a, (3, 1): (0.1 - a) / 2, (5, 1): (0.1 - a) / 2, (4, 1): 0.7 + a}
    found = {place: p[0, place[0], 0, 0, place[1]].item() for place in plan}
    assert found == pytest.approx(plan, abs=1e-4)


def test_an_image_s_plan_does_not_depend_on_how_long_its_neighbours_take() -> None:
    generator = torch.Generator().manual_seed(1)
    x = (1.6 * torch.rand(12, 1, 8, 8, generator=generator) - 0.5).clamp(0, 1)
    for threat, scale in ((Wasserstein(0.5, kernel=5), 0.5), (Wasserstein(0.1, kernel=3), 5.0)):
        wanted = threat.identity(x) + scale * torch.randn(threat.identity(x).shape, generator=generator)
        together = threat.project(x, wanted)
        for i in range(len(x)):
            assert torch.equal(threat.project(x[i : i + 1], wanted[i : i + 1])[0], together[i])


def test_projection_repeats_with_several_threads() -> None:
    threads = torch.get_num_threads()
    generator = torch.Generator().manual_seed(2)
    x = (1.6 * torch.rand(24, 1, 28, 28, generator=generator) - 1.2).clamp(0, 1)
    threat = Wasserstein(0.5, kernel=5)
    wanted = threat.identity(x) + torch.randn(threat.identity(x).shape, generator=generator)
    try:
        torch.set_num_threads(2)
        first, again = threat.project(x, wanted), threat.project(x, wanted)
        torch.set_num_threads(1)
        alone = threat.project(x, wanted)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(first, again)
    assert torch.equal(first, alone)


@pytest.mark.parametrize("threat", BALLS, ids=lambda ball: f"{ball.family}-{ball.eps}")
def test_the_furthest_plan_is_the_optimum_of_the_linear_program(threat: Wasserstein) -> None:
    for seed in range(3):
        stage, net = slope(threat, 0.7, seed)
        p = threat.furthest(stage.images, net.weight.expand_as(stage.images))
        assert (threat.size(stage.images, p) <= threat.eps * (1 + 1e-9)).all()
        assert threat.coordinates(stage.images, p).max() <= 1e-9
        for x, found in zip(stage.images, net.climbed(threat.apply(stage.images, p)), strict=True):
            assert found.item() == pytest.approx(highest(threat, x, net.weight, white=False), rel=1e-6)


def test_lambert_s_function_is_scipy_s() -> None:
    logarithm = torch.cat([torch.linspace(-300, 50, 300), torch.linspace(50, 2000, 50)]).double()
    y = lambert(logarithm)
    torch.testing.assert_close(y + y.log(), logarithm)
    few = logarithm[:300]
    torch.testing.assert_close(y[:300], torch.from_numpy(lambertw(few.exp().numpy()).real.copy()))


def test_the_entropic_projection_is_what_a_generic_solver_finds() -> None:
    sharpness, threat = 50.0, Wasserstein(0.3, kernel=3, power=2.0)
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(1, 1, 2, 3, generator=generator, dtype=torch.float64) + 0.1
    x /= x.sum()
    wanted = (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp_min(0)
    plan = nearest_by_sinkhorn(x, wanted, Window(3, threat.prices(x)), threat.eps, sharpness, 2000)
    allowed = moves(threat, x)
    sent, came, price = limits(allowed, 6)
    aim, mass = wanted.flatten().numpy(), x.flatten().numpy()

    def cost(q: np.ndarray) -> float:
        return float(((came @ q - aim) ** 2).sum() / 2 + (q * np.log(q)).sum() / sharpness)

    best = minimize(
        cost,
        mass[[move.source for move in allowed]] / 9,
        jac=lambda q: came.T @ (came @ q - aim) + (np.log(q) + 1) / sharpness,
        bounds=[(1e-12, None)] * len(allowed),
        constraints=[
            {"type": "eq", "fun": lambda q: sent @ q - mass},
            {"type": "ineq", "fun": lambda q: threat.eps - price @ q},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    flat = plan[0].flatten(1)
    found = np.array([flat[move.place, move.source].item() for move in allowed])
    np.testing.assert_allclose(sent @ found, mass, rtol=1e-9)
    np.testing.assert_allclose(found, best.x, atol=2e-3)


def test_the_conjugate_step_spends_its_budget_uphill() -> None:
    threat = Wasserstein(1.0, kernel=5, power=2.0)
    stage, net = slope(threat, 1.0, 3)
    mass = stage.images.flatten(1).sum(1).view(-1, 1, 1, 1)
    window = Window(5, threat.prices(stage.images))
    pull = net.weight.expand_as(stage.images)
    plan = furthest_by_sinkhorn(stage.images / mass, pull, window, 0.1, 20000.0, 60) * mass.unsqueeze(1)
    torch.testing.assert_close(threat.size(stage.images, plan), torch.full((4,), 0.1, dtype=torch.float64))
    best = net.climbed(threat.apply(stage.images, threat.at(0.1).furthest(stage.images, pull)))
    start, found = net.climbed(stage.images), net.climbed(threat.apply(stage.images, plan))
    assert ((found - start) / (best - start) > 0.95).all()
    assert (found <= best + 1e-9).all()


def test_steps_fall_geometrically() -> None:
    np.testing.assert_allclose(falling(0.8, 0.1, 4), [0.8, 0.4, 0.2, 0.1])
    assert falling(0.3, 0.01, 1) == [0.3]
    assert falling(0.0, 0.01, 2) == [0.0, 0.0]


class Broken(nn.Module):
    """A network with a fault, whose clean answers are in order or not."""

    def __init__(self, fault: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Tensor) -> Tensor:
        return self.fault(x)


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "no numbers": lambda x: x.flatten(1)[:, :3] * torch.nan,
    "infinite": lambda x: x.flatten(1)[:, :3] / 0,
    "constant": lambda x: 0 * x.flatten(1)[:, :3] + torch.tensor([1.0, 0.0, 0.0]),
    "numbers only far away": lambda x: torch.where(x.amax((1, 2, 3)).view(-1, 1) > 0.7, torch.nan, x.flatten(1)[:, :3]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("attack", QUICK, ids=str)
def test_a_network_that_answers_nonsense_gets_a_defined_result(attack: Attack, fault: str) -> None:
    stage = scene(Wasserstein(0.5), count=3, classes=3, net=Broken(FAULTS[fault]))
    p = stage.perturbed(attack)
    assert p.isfinite().all()
    assert [verdict.violation for verdict in stage.verdicts(p)] == [None] * 3


@pytest.mark.parametrize("attack", QUICK, ids=str)
@pytest.mark.parametrize(
    ("threat", "shape", "classes", "count", "dtype"),
    [
        (Wasserstein(0.0), (1, 8, 8), 10, 3, torch.float32),
        (Wasserstein(1e4, kernel=5, power=2.0), (1, 8, 8), 10, 3, torch.float32),
        (Wasserstein(0.3, kernel=7), (3, 5, 9), 3, 2, torch.float32),
        (Wasserstein(0.3, kernel=5), (1, 3, 2), 2, 1, torch.float32),
        (Wasserstein(0.3, kernel=3, power=0.5), (2, 6, 7), 2, 3, torch.float64),
    ],
    ids=["no radius", "huge radius", "odd colours", "smaller than the window", "float64"],
)
def test_odd_sizes_are_served(
    attack: Attack, threat: Wasserstein, shape: tuple[int, int, int], classes: int, count: int, dtype: torch.dtype
) -> None:
    net = StageNet(shape, classes).to(dtype)
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x[0, :, 0] = 0
    stage = scene(threat, shape=shape, classes=classes, net=net, x=x)
    p = stage.perturbed(attack)
    assert p.dtype == dtype
    assert p.isfinite().all()
    assert [verdict.violation for verdict in stage.verdicts(p)] == [None] * count
    if threat.eps == 0:
        assert torch.equal(p, threat.identity(x))


@pytest.mark.parametrize("attack", QUICK, ids=str)
def test_a_black_image_stays_black(attack: Attack) -> None:
    threat = Wasserstein(0.5)
    x = torch.zeros(2, 1, 8, 8)
    x[1, 0, 3, 3:6] = 0.8
    stage = scene(threat, net=StageNet((1, 8, 8), 10), x=x)
    p = stage.perturbed(attack)
    assert p.isfinite().all()
    assert torch.equal(p[0], threat.identity(x)[0])


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_the_suites_of_wong_et_al_have_both_windows_and_a_thousand_images(file: Path) -> None:
    suite = load_suite(str(file), discover())
    assert {board.threat.radius for board in suite.boards} == {"p=2,kernel=5,eps=1", "p=2,kernel=7,eps=1"}
    assert all(board.examples == 1000 for board in suite.boards)


# the probe of the issue leaves 0, 24, 1 and 8 %; the published attack 4, 48, 86 and 14 %
@pytest.mark.parametrize("attack", ["wasserstein-pgd", "frank-wolfe"])
@pytest.mark.parametrize(
    ("name", "most"),
    [
        pytest.param("vanilla", 0, marks=pytest.mark.exhaustive),
        pytest.param("robust", 8, marks=pytest.mark.slow),
        pytest.param("adv_training", 3, marks=pytest.mark.exhaustive),
        ("binarize", 2),
    ],
)
def test_the_networks_of_wong_et_al_fall_inside_the_exact_ball(
    name: str, most: float, attack: str, shared_data: Path
) -> None:
    found = evaluate(
        f'wong2019(weights="{shared_data / "wong2019_mnist" / f"mnist_{name}.safetensors"}")',
        dataset="mnist(binarized=true)" if name == "binarize" else "mnist",
        threats=["wasserstein(eps=1, kernel=5, power=2)"],
        attacks=[attack],
        examples=100,
        data=[shared_data],
    )
    (row,) = found.rates
    assert row["n"] == 100
    assert 100 * row["accuracy"] <= most


def test_binarized_digits_are_black_and_white_and_otherwise_the_same(shared_data: Path) -> None:
    from advbench import DataFolders
    from advbench_datasets.mnist import Mnist

    grey, sharp = (Mnist(binarized=b).load(DataFolders([shared_data])).judge for b in (False, True))
    images, rounded = grey.images[:200].float(), sharp.images[:200].float()
    assert torch.equal(grey.labels, sharp.labels)
    assert set(rounded.unique().tolist()) == {0.0, rounded.max().item()}
    assert torch.equal(rounded > 0, images >= images.max() / 2)
