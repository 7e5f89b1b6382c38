import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.threats import L2, Box, Corruption, Linf, RotateShift, Threat, Wasserstein, advbench_threats

THREATS = {ball.name: type(ball) for ball in advbench_threats()}
SHAPES = [(1, 5, 4), (3, 3, 7), (2, 1, 1)]
PIXELS: list[Threat] = [Linf(0.3), L2(0.7)]
BALLS: list[Threat] = [
    *PIXELS,
    RotateShift(),
    RotateShift(degrees=0.0, eps=0.5),
    RotateShift(pixels=0.0),
    Wasserstein(0.3),
    Wasserstein(1.0, kernel=3, power=2.0),
    Corruption(),
    Corruption(0.4),
    Box(),
    Box(0.3),
]
CONVEX: list[Threat] = [*PIXELS, RotateShift(), Box(), Box(0.3)]
SMOOTH = [threat for threat in BALLS if not isinstance(threat, Corruption)]

few = settings(max_examples=50, deadline=None)


def image(seed: int, n: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Random pixels, a good part of them exactly black or white."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, *shape, generator=generator, dtype=dtype) * 2 - 0.5).clamp(0, 1)


def candidates(threat: Threat, x: Tensor, seed: int, scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    p = threat.identity(x)
    return p + scale * torch.randn(p.shape, generator=generator, dtype=x.dtype)


def draws(n: int, seed: int = 0) -> Draws:
    return Draws(seed, "test", torch.arange(n))


def violation(threat: Threat, x: Tensor, p: Tensor) -> float:
    """By how much a perturbation breaks the rules, in tolerances."""
    images = threat.apply(x, p)
    allowed = threat.tolerance * max(threat.eps, 1)
    beyond = ((threat.size(x, p) - threat.eps) / allowed).max()
    rendered = torch.maximum(images.max() - 1, -images.min()) / 1e-6
    return float(max(beyond, rendered, (threat.coordinates(x, p) / allowed).max()))


def named(threat: Threat) -> str:
    return f"{threat.name}-{threat.radius}"


@pytest.mark.parametrize("threat", BALLS, ids=named)
@given(seed=st.integers(0, 999), shape=st.sampled_from(SHAPES), scale=st.sampled_from([1e-3, 0.1, 1.0, 30.0]))
@few
def test_what_is_projected_is_never_judged_outside(
    threat: Threat, seed: int, shape: tuple[int, ...], scale: float
) -> None:
    x = image(seed, 3, shape)
    p = threat.project(x, candidates(threat, x, seed, scale))
    assert violation(threat, x, p) <= 1


@pytest.mark.parametrize("threat", BALLS, ids=named)
@given(seed=st.integers(0, 999), shape=st.sampled_from(SHAPES), scale=st.sampled_from([0.1, 1.0]))
@few
def test_projecting_twice_changes_nothing_so_no_attack_drifts(
    threat: Threat, seed: int, shape: tuple[int, ...], scale: float
) -> None:
    x = image(seed, 2, shape)
    p = threat.project(x, candidates(threat, x, seed, scale))
    torch.testing.assert_close(threat.project(x, p), p, atol=2e-6, rtol=0)


@pytest.mark.parametrize("threat", CONVEX, ids=named)
@given(seed=st.integers(0, 999), shape=st.sampled_from(SHAPES), scale=st.sampled_from([0.1, 1.0]))
@few
def test_projection_brings_no_two_points_further_apart(
    threat: Threat, seed: int, shape: tuple[int, ...], scale: float
) -> None:
    x = image(seed, 2, shape)
    a, b = candidates(threat, x, seed, scale), candidates(threat, x, seed + 5, scale)
    after = (threat.project(x, a) - threat.project(x, b)).flatten(1).norm(dim=1)
    assert (after <= (a - b).flatten(1).norm(dim=1) * (1 + 1e-5)).all()


@pytest.mark.parametrize("threat", BALLS, ids=named)
def test_an_overshoot_of_one_percent_is_seen_by_the_size(threat: Threat) -> None:
    x = torch.full((2, 1, 6, 5), 0.4)
    p = threat.project(x, candidates(threat, x, 2, 5.0))  # all severities above 0
    p = threat.identity(x) + (p - threat.identity(x)) * (1.01 * threat.eps / threat.size(x, p)).view(
        -1, *[1] * (p.dim() - 1)
    ).to(p.dtype)
    assert (threat.size(x, p) > threat.eps + threat.tolerance * max(threat.eps, 1)).all()


@pytest.mark.parametrize("threat", BALLS, ids=named)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_radius_of_zero_gives_the_image_back_bit_by_bit(threat: Threat, dtype: torch.dtype) -> None:
    x = image(3, 4, (3, 5, 7), dtype)
    none = threat.at(0.0)
    for p in (none.project(x, candidates(threat, x, 3, 1.0)), none.start(x, draws(4)), none.identity(x)):
        assert p.dtype == dtype
        assert torch.equal(none.apply(x, p), x)
        assert (none.size(x, p) == 0).all()


@pytest.mark.parametrize("threat", BALLS, ids=named)
@pytest.mark.parametrize("shape", SHAPES)
def test_random_starts_are_inside_and_differ(threat: Threat, shape: tuple[int, ...]) -> None:
    x = image(7, 5, shape)
    p = threat.start(x, draws(5))
    assert violation(threat, x, p) <= 1
    if shape != SHAPES[-1]:
        assert (threat.size(x, p) > 0).all()
        assert not torch.equal(p, threat.start(x, draws(5, seed=1)))


@pytest.mark.parametrize("threat", BALLS, ids=named)
def test_neighbours_in_the_batch_change_nothing(threat: Threat) -> None:
    x = image(11, 6, (3, 5, 4))
    x[2] = 0
    p, gradient = candidates(threat, x, 11, 0.5), candidates(threat, x, 12, 1.0)
    stream = draws(6)
    together = [threat.project(x, p), threat.steepest(x, gradient), threat.size(x, p), threat.coordinates(x, p)]
    together += [threat.start(x, draws(6)), threat.apply(x, p)]
    for i in range(6):
        one = slice(i, i + 1)
        alone = [threat.project(x[one], p[one]), threat.steepest(x[one], gradient[one]), threat.size(x[one], p[one])]
        alone += [threat.coordinates(x[one], p[one]), threat.start(x[one], stream.subset(torch.tensor([i])))]
        alone += [threat.apply(x[one], p[one])]
        for whole, single in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[one], single, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("threat", BALLS, ids=named)
def test_an_attacks_own_tensors_are_never_written_into(threat: Threat) -> None:
    x = image(13, 3, (2, 4, 5))
    p = candidates(threat, x, 13, 0.5)
    before = x.clone(), p.clone()
    threat.unpack(x, threat.pack(x, p))
    for method in (threat.apply, threat.project, threat.steepest, threat.size, threat.coordinates):
        method(x, p)
    threat.start(x, draws(3))
    assert torch.equal(x, before[0])
    assert torch.equal(p, before[1])


@pytest.mark.parametrize("threat", BALLS, ids=named)
def test_an_empty_batch_is_an_answer_and_no_crash(threat: Threat) -> None:
    x = torch.zeros(0, 3, 5, 4)
    p = threat.identity(x)
    assert threat.apply(x, p).shape == x.shape
    assert threat.project(x, p).shape == threat.steepest(x, p).shape == threat.start(x, draws(0)).shape == p.shape
    assert threat.size(x, p).shape == threat.coordinates(x, p).shape == (0,)
    assert threat.unpack(x, threat.pack(x, p)).shape == p.shape


@pytest.mark.parametrize("threat", BALLS, ids=named)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_stored_comes_back_bit_by_bit(threat: Threat, dtype: torch.dtype) -> None:
    x = image(17, 4, (3, 5, 4), dtype)
    p = threat.start(x, draws(4))
    p[1] = -p[1] * 0
    back = threat.unpack(x, threat.pack(x, p))
    assert back.dtype == dtype
    assert back.numpy().tobytes() == p.numpy().tobytes()


@pytest.mark.parametrize("threat", BALLS, ids=named)
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
def test_tiny_and_huge_gradients_still_point_the_way(threat: Threat, scale: float) -> None:
    x = image(19, 2, (1, 5, 4))
    gradient = torch.randn(threat.identity(x).shape, generator=torch.Generator().manual_seed(0))
    step = threat.steepest(x, gradient)
    torch.testing.assert_close(threat.steepest(x, gradient * scale), step, atol=0.05, rtol=0)


@pytest.mark.parametrize("threat", BALLS, ids=named)
def test_no_gradient_means_no_step_and_a_broken_one_no_nan(threat: Threat) -> None:
    x = image(23, 3, (1, 5, 4))
    gradient = torch.zeros_like(threat.identity(x))
    assert (threat.steepest(x, gradient) == 0).all()
    gradient[0, 0], gradient[1], gradient[2, 0] = torch.inf, torch.nan, -torch.inf
    assert threat.steepest(x, gradient).isfinite().all()


@pytest.mark.parametrize("threat", SMOOTH, ids=named)
def test_a_step_uphill_stays_uphill_after_projection(threat: Threat) -> None:
    x = image(29, 4, (2, 6, 5))
    p = threat.identity(x).requires_grad_()
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    score = (threat.apply(x, p) * weights).flatten(1).sum(1)
    (gradient,) = torch.autograd.grad(score.sum(), p)
    q = threat.project(x, p.detach() + 0.02 * threat.eps * threat.steepest(x, gradient))
    assert ((threat.apply(x, q) * weights).flatten(1).sum(1) > score).all()


@pytest.mark.parametrize("name", sorted(THREATS))
def test_every_ball_can_be_had_by_its_name(name: str) -> None:
    assert THREATS[name](eps=0.5).at(0.25).eps == 0.25
    assert THREATS[name].name == name


def test_every_ball_and_what_can_be_set_of_it_is_documented() -> None:
    reference = (Path(__file__).parents[2] / "docs/reference.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^## Threats$(.*?)^## ", reference, re.MULTILINE | re.DOTALL)
    rows = {row[0]: row[1] for row in re.findall(r"^\| `([\w-]+)` \| ([^|]*) \|", table, re.MULTILINE)}
    assert set(rows) == set(THREATS)
    for name, ball in THREATS.items():
        assert set(re.findall(r"`(\w+)`", rows[name])) == {field.name for field in dataclasses.fields(ball)}, name


@pytest.mark.parametrize("ball", THREATS.values(), ids=THREATS)
@pytest.mark.parametrize("eps", [-0.1, math.nan, "0.3", True])
def test_a_senseless_radius_is_refused_in_one_line(ball: type[Threat], eps: object) -> None:
    with pytest.raises(AdvbenchError, match=r"^[^\n]*eps must be[^\n]*$"):
        ball(eps=eps)  # type: ignore[arg-type]


@pytest.mark.parametrize("ball", THREATS.values(), ids=THREATS)
def test_only_balls_that_can_be_unbounded_take_an_infinite_radius(ball: type[Threat]) -> None:
    if ball.unbounded:
        x = image(31, 3, (1, 4, 4))
        threat = ball(eps=math.inf)
        for p in (threat.start(x, draws(3)), threat.project(x, candidates(threat, x, 0, 9.0))):
            assert violation(ball(eps=1e9), x, p) <= 1
            assert (threat.size(x, p) > 0.3).all()
        inside = 0.1 * (0.5 - x)
        assert torch.equal(threat.project(x, inside), inside)
    else:
        with pytest.raises(AdvbenchError, match="finite"):
            ball(eps=math.inf)


@pytest.mark.parametrize(
    ("threat", "radius"),
    [
        (Linf(), "8/255"),
        (Linf(0.3), "0.3"),
        (Linf(0.2), "0.2"),
        (Linf(0.0), "0"),
        (Linf(2 / 255), "2/255"),
        (Linf(math.inf), "inf"),
        (Linf(0.0313725491), "8/255"),
        (L2(0.5), "0.5"),
        (L2(128 / 255), "128/255"),
        (L2(2), "2"),
        (RotateShift(), "30°,3px"),
        (RotateShift(eps=0.1), "3°,0.3px"),
        (Wasserstein(0.5), "p=1,kernel=5,eps=0.5"),
        (Wasserstein(1.0, kernel=7, power=2.0), "p=2,kernel=7,eps=1"),
        (Corruption(), "1"),
        (Corruption(0.4), "0.4"),
        (Box(), "1"),
    ],
)
def test_a_boards_name_says_its_radius_as_people_do(threat: Threat, radius: str) -> None:
    assert threat.radius == radius


def test_balls_whose_perturbations_mean_different_things_are_never_judged_as_one_family() -> None:
    assert Linf(0.1).family == Linf(0.2).family
    assert RotateShift(eps=0.5).family == RotateShift().family
    assert RotateShift(degrees=20.0).family != RotateShift().family
    # the same ratio, but a coordinate of 1 means another angle
    assert RotateShift(degrees=60.0, pixels=6.0).family != RotateShift().family
    assert Wasserstein(0.5).family == Wasserstein(1.0).family
    assert len({Wasserstein(1.0).family, Wasserstein(1.0, kernel=7).family, Wasserstein(1.0, power=2.0).family}) == 3


@given(seed=st.integers(0, 999), eps=st.sampled_from([0.05, 0.5, 1.0, 1.6]), scale=st.sampled_from([0.3, 2.0, 20.0]))
@few
def test_l2_projection_is_the_nearest_point_of_ball_and_box(seed: int, eps: float, scale: float) -> None:
    x = image(seed, 1, (1, 2, 3), torch.float64)
    v = scale * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    p = L2(eps).project(x, v).flatten().numpy()
    target, flat = v.flatten().numpy(), x.flatten().numpy()
    found = minimize(
        lambda q: ((q - target) ** 2).sum() / 2,
        np.zeros(6),
        jac=lambda q: q - target,
        bounds=list(zip(-flat, 1 - flat, strict=True)),
        constraints={"type": "ineq", "fun": lambda q: eps**2 - q @ q, "jac": lambda q: -2 * q},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.linalg.norm(p) <= eps * (1 + 1e-15)
    assert ((p - target) ** 2).sum() <= ((found.x - target) ** 2).sum() * (1 + 1e-7) + 1e-9


@given(seed=st.integers(0, 999), scale=st.sampled_from([0.05, 0.5, 5.0]))
@few
def test_l2_projection_uses_the_whole_radius_where_the_box_lets_it(seed: int, scale: float) -> None:
    x = image(seed, 4, (3, 16, 16))
    v = scale * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    threat = L2(0.5)
    size = threat.size(x, threat.project(x, v))
    boxed = threat.size(x, L2(math.inf).project(x, v))
    assert (size <= 0.5).all()
    torch.testing.assert_close(size, boxed.clamp_max(0.5), atol=2e-6, rtol=0)


def test_a_huge_step_in_l2_still_lands_on_the_nearest_point() -> None:
    x, v = torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[3e30, 4e30]]]])
    torch.testing.assert_close(L2(0.25).project(x, v), torch.tensor([[[[0.15, 0.2]]]]))


def test_linf_projection_clips_to_ball_and_box() -> None:
    x = torch.tensor([[[[0.0, 0.1, 0.95, 0.5]]]])
    v = torch.tensor([[[[-0.5, -0.5, 0.5, 0.2]]]])
    torch.testing.assert_close(Linf(0.3).project(x, v), torch.tensor([[[[0.0, -0.1, 0.05, 0.2]]]]))


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (5, 9), (224, 200)])
def test_no_rotation_and_no_shift_is_the_image_bit_by_bit(size: tuple[int, int]) -> None:
    x = image(37, 2, (3, *size))
    assert torch.equal(RotateShift().apply(x, torch.zeros(2, 3)), x)


@pytest.mark.parametrize("size", [(28, 28), (7, 12)])
def test_a_shift_by_whole_pixels_moves_the_array_exactly(size: tuple[int, int]) -> None:
    x = image(41, 1, (2, *size))
    threat = RotateShift(pixels=2.0)
    right, down = (threat.apply(x, torch.tensor([p])) for p in ([0.0, 0.5, 0.0], [0.0, 0.0, 1.0]))
    expected = torch.zeros_like(x)
    expected[..., 1:] = x[..., :-1]
    torch.testing.assert_close(right, expected, atol=1e-6, rtol=0)
    expected = torch.zeros_like(x)
    expected[..., 2:, :] = x[..., :-2, :]
    torch.testing.assert_close(down, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [28, 9])
@pytest.mark.parametrize("turns", [1, -1])
def test_a_quarter_turn_is_numpys_quarter_turn(side: int, turns: int) -> None:
    x = image(43, 2, (3, side, side))
    turned = RotateShift(degrees=90.0).apply(x, torch.tensor([[float(turns), 0.0, 0.0]] * 2))
    torch.testing.assert_close(turned, torch.rot90(x, turns, (2, 3)), atol=1e-5, rtol=0)


def test_an_oblong_image_turns_rigidly() -> None:
    x = torch.zeros(1, 1, 9, 15)
    x[..., 4, 4:11] = 1  # a bar through the centre
    turned = RotateShift(degrees=90.0).apply(x, torch.tensor([[1.0, 0.0, 0.0]]))
    expected = torch.zeros_like(x)
    expected[..., 1:8, 7] = 1
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


def test_an_image_is_turned_first_and_shifted_then() -> None:
    x = image(47, 1, (1, 9, 9))
    both = RotateShift(degrees=90.0).apply(x, torch.tensor([[1.0, 1 / 3, 0.0]]))
    expected = torch.zeros_like(x)
    expected[..., 1:] = torch.rot90(x, 1, (2, 3))[..., :-1]
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=0)


def test_rotation_and_shift_have_gradients_that_an_attack_can_follow() -> None:
    axis = torch.linspace(-1, 1, 16, dtype=torch.float64)
    x = torch.exp(-4 * (axis.square() + (axis.unsqueeze(1) - 0.2).square() / 3)).view(1, 1, 16, 16)
    p = torch.tensor([[0.31, -0.43, 0.57]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: RotateShift().apply(x, q).square().sum(), (p,))


def test_rendering_has_gradients_that_an_attack_can_follow() -> None:
    x = image(53, 2, (2, 3, 4), torch.float64)
    for threat in (Linf(0.1), L2(0.1), Wasserstein(0.5, kernel=3)):
        p = threat.start(x, draws(2)).requires_grad_()
        assert torch.autograd.gradcheck(lambda q, t=threat: t.apply(x, q), (p,))


def test_a_random_start_in_l2_does_not_depend_on_the_company() -> None:
    # so many that some roots are taken in a processor's vectors, and others beside them
    x = torch.full((3000, 1, 2, 2), 0.5)
    alone = [
        L2(0.3).start(x[first : first + 7], Draws(0, "x", torch.arange(3000)[first : first + 7]))
        for first in range(0, 3000, 7)
    ]
    assert torch.equal(L2(0.3).start(x, Draws(0, "x", torch.arange(3000))), torch.cat(alone))
