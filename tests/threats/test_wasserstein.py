import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import Tensor

from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.threats import Wasserstein
from advbench.threats.membership import measure
from advbench.threats.transport import ROUNDS, Rows, nearest_plan

few = settings(max_examples=40, deadline=None)


def image(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=dtype) * 1.6 - 0.6).clamp(0, 1)


def noise(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1), dtype=dtype)


def optimal_transport(threat: Wasserstein, before: Tensor, after: Tensor) -> float:
    """The exact cost between two images of one channel, mass normalised to 1, by POT."""
    height, width = before.shape
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2).astype(float)
    cost = ot.dist(grid, grid, metric="euclidean") ** threat.power
    a, b = before.double().flatten().numpy(), after.double().flatten().numpy()
    return float(ot.emd2(a / a.sum(), b / b.sum(), cost))


def uncapped(threat: Wasserstein, x: Tensor, v: Tensor) -> Tensor:
    """The projection onto the convex ball alone, before pixels above 1 are sent back."""
    rows = Rows.of(x)
    n, k, c, h, w = v.shape
    lanes = v.permute(1, 0, 2, 3, 4).reshape(k, -1)
    inside = threat_inside(threat, x).repeat(n, 1, c, 1, 1).permute(1, 0, 2, 3, 4).reshape(k, -1)
    values = lanes.masked_fill(~inside, -torch.inf)[:, rows.place]
    budget = threat.eps * x.flatten(1).sum(1).double()
    plan = torch.zeros_like(lanes)
    plan[:, rows.place] = nearest_plan(values, threat.prices(x), k // 2, rows, budget)
    return plan.view(k, n, c, h, w).permute(1, 0, 2, 3, 4)


def threat_inside(threat: Wasserstein, x: Tensor) -> Tensor:
    """(1, K, 1, H, W), written out place by place."""
    height, width = x.shape[-2:]
    radius = threat.kernel // 2
    inside = torch.zeros(1, threat.kernel**2, 1, height, width, dtype=torch.bool)
    for k in range(threat.kernel**2):
        down, right = k // threat.kernel - radius, k % threat.kernel - radius
        for i in range(height):
            for j in range(width):
                inside[0, k, 0, i, j] = 0 <= i + down < height and 0 <= j + right < width
    return inside


def test_one_pixel_sent_two_places_costs_two_by_distance_and_four_by_its_square() -> None:
    x = torch.zeros(1, 1, 1, 3)
    x[..., 0] = 0.8
    for power, cost in ((1.0, 2.0), (2.0, 4.0), (0.5, 2**0.5)):
        threat = Wasserstein(9.0, power=power)
        p = torch.zeros_like(threat.identity(x))
        p[0, 14, 0, 0, 0] = 0.8  # row 2 of the window is its own, column 4 two to the right
        torch.testing.assert_close(threat.size(x, p), torch.tensor([cost], dtype=torch.float64))
        torch.testing.assert_close(threat.apply(x, p), torch.tensor([[[[0.0, 0.0, 0.8]]]]))
        assert threat.coordinates(x, p) == 0


def test_the_cost_counts_mass_of_all_channels_together() -> None:
    x = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1).expand(1, 3, 2, 2).clone()
    x[..., 1] = 0
    threat = Wasserstein(1.0, kernel=3)
    p = threat.identity(x)
    p[0, 5, 0, :, 0], p[0, 4, 0, :, 0] = 0.5, 0.0  # the first channel moves one to the right: half of the mass
    assert threat.size(x, p).item() == pytest.approx(0.5)
    assert threat.apply(x, p)[0, 0, :, 1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_size_of_an_optimal_plan_is_the_exact_wasserstein_distance(power: float) -> None:
    threat = Wasserstein(9.0, power=power)
    x = image(0, 1, 1, 5, 6)
    x[..., -1] = 0
    p = torch.zeros_like(threat.identity(x))
    p[:, 13] = x  # the whole image one to the right: no plan is cheaper
    torch.testing.assert_close(threat.size(x, p), torch.tensor([1.0], dtype=torch.float64))
    assert optimal_transport(threat, x[0, 0], threat.apply(x, p)[0, 0]) == pytest.approx(1.0)


@given(seed=st.integers(0, 999), power=st.sampled_from([1.0, 2.0]), eps=st.sampled_from([0.05, 0.4, 1.5]))
@few
def test_no_image_is_further_by_exact_transport_than_its_plan_says(seed: int, power: float, eps: float) -> None:
    threat = Wasserstein(eps, power=power)
    x = image(seed, 2, 1, 5, 4)
    x[:, 0, 0, 0] = 0.5
    for p in (
        threat.start(x, Draws(seed, "test", torch.arange(2))),
        threat.project(x, threat.identity(x) + noise(seed, *threat.identity(x).shape)),
    ):
        size = threat.size(x, p)
        for i, after in enumerate(threat.apply(x, p)):
            assert after.sum() == pytest.approx(x[i].sum().item())
            exact = optimal_transport(threat, x[i, 0], after[0])
            assert exact <= size[i].item() + 1e-9
            assert exact <= eps + 1e-9


@given(seed=st.integers(0, 999), eps=st.sampled_from([0.02, 0.2, 0.6]), scale=st.sampled_from([0.3, 3.0]))
@few
def test_projection_is_the_nearest_plan_that_a_generic_solver_finds(seed: int, eps: float, scale: float) -> None:
    threat = Wasserstein(eps, kernel=3, power=2.0)
    x = image(seed, 1, 2, 2, 2)
    x[0, 0, 0, 0] = 0.7
    shape = threat.identity(x).shape
    v = threat.identity(x) + scale * noise(seed, *shape)
    p = uncapped(threat, x, v)
    target, mass = v.flatten().numpy(), x.flatten().numpy()
    free = threat_inside(threat, x).expand(shape).flatten().numpy()
    price = threat.prices(x).view(1, -1, 1, 1, 1).expand(shape).flatten().numpy()
    of_row = np.zeros((8, target.size))
    of_row[np.arange(target.size) % 8, np.arange(target.size)] = 1
    found = minimize(
        lambda q: ((q - target) ** 2).sum() / 2,
        threat.identity(x).flatten().numpy(),
        jac=lambda q: q - target,
        bounds=[(0, None) if inside else (0, 0) for inside in free],
        constraints=[
            {"type": "eq", "fun": lambda q: of_row @ q - mass, "jac": lambda q: of_row},
            {"type": "ineq", "fun": lambda q: eps * mass.sum() - price @ q, "jac": lambda q: -price},
        ],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 300},
    )
    np.testing.assert_allclose(p.flatten().numpy(), found.x, atol=2e-5)


@given(seed=st.integers(0, 999))
@few
def test_a_far_step_finds_the_best_plan_of_a_linear_program(seed: int) -> None:
    threat = Wasserstein(0.3, kernel=3)
    x = image(seed, 1, 1, 3, 3)
    x[0, 0, 1, 1] = 0.9
    gain = noise(seed, *threat.identity(x).shape)
    p = uncapped(threat, x, threat.identity(x) + 1e4 * gain)
    inside = threat_inside(threat, x).flatten().numpy()
    price = threat.prices(x).double().view(-1, 1).expand(9, 9).flatten().numpy()
    found = linprog(
        -gain.double().flatten().numpy(),
        A_ub=[price],
        b_ub=[0.3 * x.sum().item()],
        A_eq=np.tile(np.eye(9), 9),
        b_eq=x.double().flatten().numpy(),
        bounds=[(0, None) if free else (0, 0) for free in inside],
    )
    worth = (p * gain).sum().item()
    assert worth == pytest.approx(-found.fun, abs=1e-3)


@given(seed=st.integers(0, 999), eps=st.sampled_from([0.05, 0.5]), scale=st.sampled_from([0.05, 1.0]))
@few
def test_projection_onto_the_convex_ball_brings_no_two_plans_further_apart(seed: int, eps: float, scale: float) -> None:
    threat = Wasserstein(eps)
    x = image(seed, 2, 1, 5, 5)
    x[:, 0, 2, 2] = 0.5
    # where a pixel has nothing or a place is outside, every plan is 0: such entries are no part of the distance
    entries = threat_inside(threat, x) & (x > 0).unsqueeze(1)
    a, b = (threat.identity(x) + scale * noise(s, *threat.identity(x).shape) * entries for s in (seed, seed + 1))
    after = (uncapped(threat, x, a) - uncapped(threat, x, b)).flatten(1).norm(dim=1)
    assert (after <= (a - b).flatten(1).norm(dim=1) * (1 + 1e-9)).all()
    p = uncapped(threat, x, a)
    torch.testing.assert_close(uncapped(threat, x, p), p)


@given(
    seed=st.integers(0, 999),
    eps=st.sampled_from([0.02, 0.3, 2.0]),
    scale=st.sampled_from([0.01, 1.0, 100.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@few
def test_a_budget_that_binds_is_spent(seed: int, eps: float, scale: float, dtype: torch.dtype) -> None:
    threat = Wasserstein(eps, power=2.0)
    x = image(seed, 3, 2, 6, 5, dtype=dtype)
    v = threat.identity(x) + scale * noise(seed, *threat.identity(x).shape, dtype=dtype)
    wanted = threat.size(x, uncapped(threat.at(100.0), x, v))
    spent = threat.size(x, uncapped(threat, x, v))
    accuracy = 2e-5 * max(1.0, scale) if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(spent, wanted.clamp_max(eps), rtol=accuracy, atol=accuracy * eps)


def test_the_hardest_steps_converge_long_before_the_last_round(monkeypatch: pytest.MonkeyPatch) -> None:
    threat = Wasserstein(0.5, power=2.0)
    x = image(3, 20, 1, 12, 12)
    v = threat.identity(x) + 5 * noise(3, *threat.identity(x).shape)
    exact = uncapped(threat, x, v)
    monkeypatch.setattr("advbench.threats.transport.ROUNDS", ROUNDS // 2)
    torch.testing.assert_close(uncapped(threat, x, v), exact, atol=1e-9, rtol=0)


def test_no_pixel_exceeds_white_although_everything_pulls_towards_one() -> None:
    threat = Wasserstein(5.0, power=1.0)
    x = image(5, 4, 3, 9, 8, dtype=torch.float32)
    x[0], x[1, :, ::2] = 1.0, 1.0  # nothing can move in the first; chains of full pixels in the second
    pull = torch.zeros_like(x)
    pull[..., 4, 4] = 1
    p = threat.identity(x).requires_grad_()
    (gradient,) = torch.autograd.grad((threat.apply(x, p) * pull).sum(), p)
    q = threat.project(x, p.detach() + 50 * gradient)
    images = threat.apply(x, q)
    assert images.max() <= 1 + 1e-6
    assert threat.coordinates(x, q).max() <= 1e-6
    assert (threat.size(x, q) <= threat.eps + threat.tolerance).all()
    torch.testing.assert_close(images[0], x[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(images[2:, :, 4, 4], torch.ones(2, 3), atol=1e-2, rtol=0)


@pytest.mark.parametrize("full", [0.5, 1.0])
def test_an_image_without_mass_cannot_be_perturbed_and_gives_no_nan(full: float) -> None:
    threat = Wasserstein(1.0)
    x = torch.zeros(2, 1, 4, 4)
    for mixed in (False, True):
        if mixed:
            x[1, 0, 1, 1] = full
        v = threat.identity(x) + noise(7, *threat.identity(x).shape, dtype=torch.float32)
        for p in (threat.project(x, v), threat.start(x, Draws(0, "test", torch.arange(2)))):
            assert torch.equal(p[0], threat.identity(x)[0])
            assert p.isfinite().all()
            assert threat.size(x, p)[0] == 0
        assert (threat.steepest(x, v)[0] == 0).all()
        assert threat.coordinates(x, v)[0] > 0.1


@pytest.mark.parametrize(
    ("cheat", "place"),
    [("mass from nowhere", (0, 13, 0, 2, 2)), ("mass below zero", (0, 12, 0, 2, 2)), ("mass outside", (0, 2, 0, 0, 2))],
)
def test_what_is_no_plan_is_caught(cheat: str, place: tuple[int, ...]) -> None:
    threat = Wasserstein(1.0)
    x = torch.full((2, 1, 5, 5), 0.5)
    p = threat.identity(x)
    p[place] += 0.1 if cheat != "mass below zero" else -0.6
    if cheat == "mass outside":
        p[0, 12, 0, 0, 2] -= 0.1  # its row still sums to the pixel
    assert threat.coordinates(x, p)[0] > 0.09 / 12.5  # as a share of the image's mass
    assert threat.coordinates(x, p)[1] == 0


def test_a_dark_image_gains_no_mass_a_little_in_every_row() -> None:
    """A tolerance for each of 784 rows would add up to a good part of what there is."""
    threat = Wasserstein(1.0)
    x = torch.zeros(2, 1, 28, 28)
    x[:, 0, 10:12, 10:12] = 0.005  # 0.02 in all
    p = threat.identity(x)
    p[0, threat.kernel**2 // 2] += 0.9e-5
    images = threat.apply(x, p)
    assert images[0].sum() > 1.3 * x[0].sum()
    assert threat.size(x, p).max() == 0
    assert measure(threat, x, p, images).inside.tolist() == [False, True]


def test_stored_plans_are_as_small_as_what_they_move() -> None:
    threat = Wasserstein(0.2)
    x = image(11, 3, 1, 12, 12, dtype=torch.float32)
    p = threat.project(x, threat.identity(x) + 0.1 * noise(11, *threat.identity(x).shape, dtype=torch.float32))
    stored = threat.pack(x, p)
    assert stored["index"].dtype == torch.int32
    assert len(stored["value"]) == (p != 0).sum() < p.numel() / 4


def test_the_step_ignores_brightness_but_not_where_mass_is() -> None:
    threat = Wasserstein(1.0)
    x = image(13, 2, 1, 6, 6)
    x[1] = 0.5 * x[0]
    gradient = noise(13, 1, *threat.identity(x).shape[1:]).expand(2, -1, -1, -1, -1)
    step = threat.steepest(x, gradient)
    torch.testing.assert_close(step[1], 0.5 * step[0])
    assert (step.movedim(1, -1)[x == 0] == 0).all()
    torch.testing.assert_close(step.sum(1), torch.zeros_like(x))


@pytest.mark.parametrize("wrong", [{"kernel": 4}, {"kernel": 1}, {"kernel": 5.0}, {"power": 0.0}, {"power": -1.0}])
def test_a_senseless_window_or_cost_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(AdvbenchError, match=r"wasserstein: (kernel|power) must be"):
        Wasserstein(1.0, **wrong)  # type: ignore[arg-type]


def test_what_is_a_little_below_zero_pays_for_nothing() -> None:
    threat = Wasserstein(0.1, kernel=5)
    x = torch.full((1, 1, 6, 6), 0.2)
    p = threat.identity(x)
    honest = p.clone()
    honest[0, 12, 0, 2, 2] -= 0.1
    honest[0, 13, 0, 2, 2] += 0.1
    cheating = honest.clone()
    cheating[0, :12] -= 9e-6
    assert threat.size(x, cheating) > threat.size(x, honest)
