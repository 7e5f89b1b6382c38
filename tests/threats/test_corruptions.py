"""The corruption ball: every kind looks as it is called, depends on its three numbers alone, and stays an image."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench import evaluate
from advbench.draws import Draws
from advbench.target.referee import render
from advbench.testing.scene import scene
from advbench.threats import Corruption
from advbench.threats.corruption import SEEDS
from advbench.threats.corruptions import NAMES
from advbench.threats.corruptions.fields import blurred, plasma
from advbench.threats.corruptions.jpeg import COSINES
from advbench_attacks.corruptions import Corruptions

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 9, 21), (2, 5, 3), (1, 1, 1)]
CHANCE = {"noise", "line", "dotted-line", "elastic", "shear", "spatter", "rotate", "fog", "frost", "zigzag"}
"""Kinds in which the seed matters."""
QIN = {  # error rates in percent of CNN+CR and CNN+R (Qin et al., 2020, table 2)
    "noise": (9.8, 6.7),
    "blur": (6.7, 8.9),
    "line": (17.6, 18.9),
    "dotted-line": (4.2, 3.1),
    "elastic": (11.1, 12.2),
    "saturate": (1.5, 1.2),
    "jpeg": (0.8, 0.7),
    "quantize": (0.9, 0.7),
    "shear": (2.1, 2.2),
    "spatter": (1.8, 1.8),
    "rotate": (6.1, 6.5),
    "contrast": (72.0, 73.4),
    "inverse": (78.1, 88.1),
    "canny": (34.6, 23.4),
    "fog": (66.0, 65.6),
    "frost": (37.6, 36.2),
    "zigzag": (18.4, 17.5),
}


def pictures(count: int, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Bright strokes and blots on black, no two alike."""
    draws = Draws(3, "pictures", torch.arange(count))
    smooth = blurred(draws.normal(*shape, dtype=torch.float64), 1.0, 1.0)
    return (2 * smooth).clamp(0, 1).to(dtype)


def corrupted(kind: str, x: Tensor, severity: float = 1.0, seeds: Tensor | None = None) -> Tensor:
    seeds = torch.arange(len(x)) if seeds is None else seeds
    return Corruption().apply(x, coordinates(kind, seeds, severity).to(x.dtype))


def coordinates(kind: str, seeds: Tensor, severity: float = 1.0) -> Tensor:
    number = torch.full((len(seeds),), float(NAMES.index(kind)))
    return torch.stack((number, torch.full_like(number, severity), seeds.float()), 1)


each_kind = pytest.mark.parametrize("kind", NAMES)


def test_the_kinds_are_the_seventeen_of_the_paper() -> None:
    assert len(NAMES) == 17
    assert set(NAMES) == set(QIN)


@each_kind
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_image_stays_an_image(kind: str, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    for x in (pictures(3, shape, dtype), torch.zeros(2, *shape, dtype=dtype), torch.ones(2, *shape, dtype=dtype)):
        for severity in (1e-6, 0.3, 1.0, 7.0):
            y = corrupted(kind, x, severity)
            assert y.dtype == dtype
            assert y.shape == x.shape
            assert y.isfinite().all()
            assert y.min() >= 0
            assert y.max() <= 1


@each_kind
def test_an_example_looks_the_same_in_any_company(kind: str) -> None:
    x, seeds = pictures(7, (3, 20, 13)), torch.tensor([5, 0, 99, 5, 1048575, 3, 8])
    whole = corrupted(kind, x, 0.8, seeds)
    for rows in (torch.tensor([4]), torch.tensor([6, 1, 3]), torch.arange(6, -1, -1)):
        assert torch.equal(corrupted(kind, x[rows], 0.8, seeds[rows]), whole[rows])


def test_kinds_in_one_batch_do_not_disturb_each_other() -> None:
    x = pictures(17, (1, 12, 15))
    p = torch.cat([coordinates(kind, torch.tensor([9]), 0.7) for kind in NAMES])
    mixed = Corruption().apply(x, p)
    for row, kind in enumerate(NAMES):
        one = slice(row, row + 1)
        assert torch.equal(mixed[one], corrupted(kind, x[one], 0.7, torch.tensor([9])))


@each_kind
def test_the_referee_renders_again_what_the_attack_saw_whatever_else_was_drawn(kind: str) -> None:
    x, p = pictures(4, (1, 28, 28)), coordinates(kind, torch.tensor([7, 7, 8, 1 << 19]))
    seen = Corruption().apply(x, p)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.rand(3)
        rendered = render(Corruption(), x, Corruption().unpack(x, Corruption().pack(x, p)))
    assert torch.equal(rendered.images, seen)
    assert rendered.member.inside.all()


@each_kind
def test_float32_and_float64_show_the_same_image(kind: str) -> None:
    x, seeds = pictures(3, (1, 17, 28)), torch.tensor([1, 2, 3])
    single, double = corrupted(kind, x, 0.75, seeds), corrupted(kind, x.double(), 0.75, seeds)
    torch.testing.assert_close(single.double(), double, atol=1e-6, rtol=0)


@each_kind
def test_another_seed_is_another_rendering_where_chance_is_part_of_the_kind(kind: str) -> None:
    x = pictures(1, (1, 28, 28)).expand(8, 1, 28, 28)
    seen = corrupted(kind, x, 1.0, torch.arange(8))
    differ = any(not torch.equal(seen[0], other) for other in seen[1:])
    assert differ == (kind in CHANCE)


@each_kind
def test_severity_grows_from_nothing_to_something_to_see(kind: str) -> None:
    x = pictures(4, (3, 28, 28))
    moved = [float((corrupted(kind, x, s) - x).abs().mean()) for s in (0.0, 1e-4, 0.5, 1.0)]
    assert moved[0] == 0
    assert moved[1] < 5e-3
    assert moved[3] > 0.01
    assert moved[2] <= moved[3] * 1.05


def test_a_kind_or_a_seed_that_is_no_whole_number_is_no_perturbation() -> None:
    x, threat = pictures(6, (1, 5, 5)), Corruption(0.5)
    p = torch.tensor([[0.5, 0.1, 0], [17, 0.1, 0], [-1, 0.1, 0], [2, -0.2, 0], [2, 0.1, 0.25], [2, 0.1, SEEDS]])
    assert (threat.coordinates(x, p) > 0.1).all()
    assert not render(threat, x, p).member.inside.any()
    assert render(threat, x, threat.project(x, p)).member.inside.all()
    assert torch.equal(threat.project(x, p)[:, 1], torch.tensor([0.1, 0.1, 0.1, 0, 0.1, 0.1]))


def test_no_seed_is_lost_to_the_precision_of_float32() -> None:
    seeds = torch.tensor([SEEDS - 1, SEEDS - 2])
    x = pictures(1, (1, 9, 9)).expand(2, 1, 9, 9)
    first, second = corrupted("noise", x, 1.0, seeds)
    assert not torch.equal(first, second)


# Known answers


def test_inverse_contrast_and_quantize_are_what_their_formulas_say() -> None:
    x = pictures(2, (3, 6, 7), torch.float64)
    torch.testing.assert_close(corrupted("inverse", x), 1 - x)
    mean = x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(corrupted("contrast", x), mean + 0.1 * (x - mean))
    torch.testing.assert_close(corrupted("quantize", x), x.round())
    assert len(corrupted("quantize", torch.linspace(0, 1, 400).view(1, 1, 20, 20), 6 / 7).unique()) == 4


def test_noise_has_its_strength_and_no_pattern() -> None:
    grey = torch.full((6, 1, 64, 64), 0.5, dtype=torch.float64)
    moved = corrupted("noise", grey, 0.25) - 0.5
    assert moved.std() == pytest.approx(0.095, rel=0.02)
    assert abs(float(moved.mean())) < 0.002
    assert abs(float((moved[..., 1:] * moved[..., :-1]).mean())) < 3e-4


def test_blur_is_the_convolution_with_a_gaussian() -> None:
    x = torch.zeros(1, 1, 28, 28, dtype=torch.float64)
    x[..., 14, 14] = 1
    seen = corrupted("blur", x)[0, 0]
    line = torch.exp(-(torch.arange(-6, 7, dtype=torch.float64) ** 2) / 8)
    kernel = line.unsqueeze(1) * line / line.sum() ** 2
    torch.testing.assert_close(seen[8:21, 8:21], kernel)
    assert seen.sum() == pytest.approx(1)


def test_a_uniform_image_has_nothing_to_blur_to_compress_or_to_outline() -> None:
    x = torch.full((1, 3, 19, 23), 128 / 255, dtype=torch.float64)
    torch.testing.assert_close(corrupted("blur", x), x)
    torch.testing.assert_close(corrupted("jpeg", x), x, atol=1e-4, rtol=0)
    assert (corrupted("canny", x) == 0).all()


def test_the_cosines_of_jpeg_are_orthonormal_and_mild_compression_is_mild() -> None:
    table = torch.tensor(COSINES)
    torch.testing.assert_close(table @ table.T, torch.eye(8))
    x = pictures(2, (3, 24, 20))
    assert (corrupted("jpeg", x, 1e-3) - x).abs().max() < 0.012  # rounding at quality 100: steps of one level
    seen = corrupted("jpeg", 0.4 + 0.2 * x[:, :1].double())  # far from black and white: nothing is cut off
    waves = table.double() @ (255 * seen[..., :8, :8] - 128) @ table.double().T
    steps = 79 * (waves[..., 0, 1] / 79).round()  # 11 in the table of brightness, at quality 7
    torch.testing.assert_close(waves[..., 0, 1], steps, atol=1e-4, rtol=0)
    assert (waves.abs() < 1e-4).double().mean() > 0.8  # most of what was there is rounded away


@pytest.mark.parametrize("turn", [1, -1])
def test_rotation_turns_about_the_centre_by_23_degrees(turn: int) -> None:
    x = torch.zeros(1, 1, 41, 41)
    x[..., 20, 30:39] = 1  # a bar to the right of the centre
    seeds = torch.arange(16)
    angles = set()
    for y in corrupted("rotate", x.expand(16, 1, 41, 41), 1.0, seeds):
        row, column = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
        angles.add(round(float(torch.atan2((y * row).sum(), (y * column).sum())), 2))
    assert any(angle == pytest.approx(turn * 0.4, abs=0.02) for angle in angles)
    assert len(angles) == 2


def test_a_line_is_white_where_it_goes_and_leaves_the_rest() -> None:
    black = torch.zeros(5, 1, 28, 28)
    for kind in ("line", "dotted-line", "zigzag"):
        ink = corrupted(kind, black)
        assert (ink.amax((1, 2, 3)) > 0.6).all(), kind
        assert ((ink > 0.3).float().mean((1, 2, 3)) < 0.2).all(), kind
    columns = corrupted("dotted-line", black).amax((1, 2))
    assert (columns[:, 2:4] > 0.4).all()
    assert (columns[:, 4:6] == 0).all()


def test_edges_are_thin_and_stand_where_brightness_jumps() -> None:
    x = torch.zeros(1, 1, 20, 20)
    x[..., 10:] = 1
    edges = corrupted("canny", x)[0, 0]
    assert (edges.sum(1) == 1).all()
    assert edges.nonzero()[:, 1].unique().tolist() in ([9], [10])
    faint = corrupted("canny", 0.1 * x)
    assert (faint == 0).all()


def test_a_weak_edge_is_kept_where_it_continues_a_strong_one() -> None:
    x = torch.zeros(2, 1, 20, 20)
    x[0, ..., 10:] = torch.linspace(1, 0.3, 20).unsqueeze(1)
    x[1, ..., 10:] = 0.3
    first, second = corrupted("canny", x)
    assert first[0, -1].sum() > 0
    assert second.sum() == 0


def test_the_landscape_fills_its_range_and_is_smoother_than_noise() -> None:
    land = plasma((32, 32), Draws(0, "test", torch.arange(20)), 2.0)
    assert torch.equal(land.amin((1, 2, 3)), torch.zeros(20, dtype=torch.float64))
    assert torch.equal(land.amax((1, 2, 3)), torch.ones(20, dtype=torch.float64))
    assert land.diff(dim=-1).std() < 0.4 * land.std()


def test_frost_and_fog_brighten_what_is_black_and_spatter_darkens_what_is_white() -> None:
    assert corrupted("frost", torch.zeros(4, 1, 28, 28)).mean((1, 2, 3)).min() > 0.2
    picture = pictures(4, (1, 28, 28))
    assert (corrupted("fog", picture)[picture == 0]).min() > 0.1
    white = corrupted("spatter", torch.ones(4, 1, 28, 28))
    assert (white.amin((1, 2, 3)) < 0.3).all()
    assert ((white == 1).float().mean((1, 2, 3)) > 0.3).all()


def test_saturation_leaves_grey_grey_and_makes_colours_pure() -> None:
    grey = torch.full((1, 3, 4, 4), 0.4)
    assert torch.equal(corrupted("saturate", grey), grey)
    dull = torch.tensor([0.5, 0.45, 0.4]).view(1, 3, 1, 1)
    torch.testing.assert_close(corrupted("saturate", dull).flatten(), torch.tensor([0.5, 0.25, 0.0]))


# The attack


class Dark(nn.Module):
    """Class 1 for images whose mean is above the edge."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Tensor) -> Tensor:
        bright = 10 * (x.flatten(1).mean(1) - self.edge)
        return torch.stack((-bright, bright), 1)


@pytest.mark.parametrize(("severity", "wins"), [(0.4, False), (0.6, True)])
def test_a_corruption_wins_from_the_severity_on_at_which_it_must(severity: float, wins: bool) -> None:
    x = torch.full((4, 1, 8, 8), 0.1)  # inverted, the mean is 0.5 from severity 0.5 on
    stage = scene(Corruption(severity), classes=2, net=Dark(0.5), x=x)
    assert stage.fooled(Corruptions(kind="inverse")).tolist() == [wins] * 4


def test_all_kinds_together_win_wherever_one_of_them_does() -> None:
    x, net = pictures(12, (1, 8, 8)), Dark(0.3)
    stage = scene(Corruption(1.0), classes=2, net=net, x=x)
    alone = [stage.fooled(Corruptions(kind=kind)).tolist() for kind in NAMES if kind not in CHANCE]
    together = stage.fooled(Corruptions()).tolist()
    assert any(any(hits) for hits in alone)
    assert all(together[row] or not any(hits[row] for hits in alone) for row in range(12))


def test_a_cell_can_be_had_for_every_kind_and_costs_one_pass_of_it() -> None:
    assert {Corruptions(kind=kind).label for kind in NAMES} == {f"corruptions(kind={kind})" for kind in NAMES}
    assert Corruptions(kind="frost").passes(10) == 1
    assert Corruptions(tries=2).passes(10) == 34


def test_errors_on_digits_lie_near_those_of_the_paper(shared_data: Path) -> None:
    found = evaluate(
        f'wong2019(weights="{shared_data}/wong2019_mnist/mnist_vanilla.safetensors")',
        dataset="mnist",
        threats=["corruption"],
        attacks=[f"corruptions(kind={kind})" for kind in NAMES],
        examples=300,
        data=[shared_data],
    )
    error = {row["attack"]: 100 * (1 - row["accuracy"]) for row in found.rates}
    mine = [math.log(error[f"corruptions(kind={kind})"] + 1) for kind in NAMES]
    theirs = [math.log(sum(QIN[kind]) / 2 + 1) for kind in NAMES]
    agreement = torch.corrcoef(torch.tensor([mine, theirs]))[0, 1]
    assert agreement > 0.85
    assert all(abs(a - b) < math.log(3) for a, b in zip(mine, theirs, strict=True))
