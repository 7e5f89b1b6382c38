"""Random numbers: whatever a run is split into, moved to or resumed from, it draws the same ones."""

from __future__ import annotations

import math

import pytest
import torch

from advbench.draws import Draws

IDS = torch.arange(500)

GOLDEN_INTEGERS = [[801256871, 1167129024], [309594165, 796320806], [1945607578, 1805663057]]
GOLDEN_UNIFORM = [
    ["0x1.0382e20000000p-1", "0x1.50a21c0000000p-2"],
    ["0x1.26e67a0000000p-1", "0x1.bdc67a0000000p-1"],
    ["0x1.d3098e0000000p-1", "0x1.f5980e0000000p-1"],
]
GOLDEN_NORMAL = [
    [-1.8613317012786865, 0.4128500819206238],
    [1.2553375959396362, -0.07012628018856049],
    [0.6585240364074707, -0.16565078496932983],
]
GOLDEN_SIGN = [[-1, 1, 1, -1], [1, 1, 1, 1], [1, -1, 1, 1]]
GOLDEN_SUBSET = [[21, 46, 150]]


def draws(ids: torch.Tensor = IDS, seed: int = 0, purpose: str = "test") -> Draws:
    return Draws(seed, purpose, ids)


def test_stored_results_can_be_drawn_again_by_every_later_version() -> None:
    stream = Draws(7, "golden", torch.tensor([0, 1, 2**40]))
    assert stream.integers(2**31, 2).tolist() == GOLDEN_INTEGERS
    assert stream.uniform(2).tolist() == [[float.fromhex(value) for value in row] for row in GOLDEN_UNIFORM]
    torch.testing.assert_close(stream.normal(2), torch.tensor(GOLDEN_NORMAL), atol=1e-6, rtol=1e-6)
    assert stream.sign(4).tolist() == GOLDEN_SIGN
    assert stream.subset(torch.tensor([2])).integers(1000, 3).tolist() == GOLDEN_SUBSET


@pytest.mark.parametrize("kind", ["uniform", "normal", "sign"])
def test_an_example_draws_the_same_alone_in_any_company_and_in_any_order(kind: str) -> None:
    whole = getattr(draws(), kind)(3, 5)
    some = torch.tensor([400, 3, 77])
    assert torch.equal(getattr(draws(IDS[some]), kind)(3, 5), whole[some])
    assert torch.equal(getattr(draws().subset(some), kind)(3, 5), whole[some])


def test_a_subset_goes_on_where_the_whole_stands() -> None:
    stream, some = draws(), torch.tensor([2, 1])
    stream.uniform(4)
    later = stream.subset(some)
    assert torch.equal(later.uniform(4), stream.uniform(4)[some])
    assert torch.equal(later.uniform(4), stream.uniform(4)[some])


def test_every_call_seed_purpose_and_example_draws_something_else() -> None:
    stream = draws()
    streams = [stream.uniform(20), stream.uniform(20), draws(seed=1).uniform(20), draws(purpose="x").uniform(20)]
    numbers = torch.cat([part.flatten() for part in streams])
    # 40,000 of 2**23 equally likely numbers meet about 95 times by chance
    assert len(numbers) - len(numbers.unique()) < 150
    for one in streams:
        for other in streams:
            if one is not other:
                assert abs(float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1])) < 0.05


@pytest.mark.parametrize("low", [0, 2**31 - 500, 2**40, -(2**62)])
def test_the_keys_of_many_examples_do_not_collide(low: int) -> None:
    ids = torch.arange(low, low + 100_000)
    first, second = draws(ids).integers(2**31, 2).T
    # 64 bits: no two of 100,000 alike, where 32 bits alone would make one collision
    assert len((first << 31 | second).unique()) == len(ids)


def test_uniform_numbers_are_uniform_and_never_touch_their_ends() -> None:
    numbers = draws().uniform(2000)
    assert numbers.min() > 0
    assert numbers.max() < 1
    counts = numbers.histc(100, 0, 1)
    assert float(((counts - 10_000).square() / 10_000).sum()) < 149  # chi², 99 degrees of freedom: 1 in 1,000
    assert abs(float(numbers.double().mean()) - 0.5) < 4 / math.sqrt(12e6)


def test_uniform_numbers_keep_to_the_range_that_is_asked_for() -> None:
    numbers = draws().uniform(1000, low=-0.3, high=0.1)
    assert -0.3 <= float(numbers.min()) < -0.2999
    assert 0.0999 < float(numbers.max()) <= 0.1 + 1e-8


def test_normal_numbers_have_the_moments_of_a_normal_distribution() -> None:
    numbers = draws().normal(2000).double()
    assert bool(numbers.isfinite().all())
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((numbers**power).mean()) - moment) < 4 * math.sqrt(spread / 1e6)
    assert abs(float((numbers.abs() > 1.959964).double().mean()) - 0.05) < 0.001


def test_integers_and_signs_are_even() -> None:
    counts = torch.bincount(draws().integers(7, 1000).flatten())
    assert len(counts) == 7
    assert float(((counts - 5e5 / 7).square() / (5e5 / 7)).sum()) < 22.5  # chi², 6 degrees of freedom: 1 in 1,000
    assert abs(float(draws().sign(1000).mean())) < 4 / math.sqrt(5e5)
    assert set(draws().sign(10).unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_pixels_and_neighbouring_examples_are_independent(axis: int) -> None:
    numbers = draws().normal(1000)
    one, other = (numbers[:-1], numbers[1:]) if axis == 0 else (numbers[:, :-1], numbers[:, 1:])
    for function in (lambda v: v, torch.square, torch.abs):
        pair = torch.stack((function(one).flatten(), function(other).flatten()))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / math.sqrt(5e5)


def test_double_precision_draws_the_same_numbers() -> None:
    assert torch.equal(draws().uniform(50, dtype=torch.float64).float(), draws().uniform(50))
    double = draws().normal(50, dtype=torch.float64).float()
    torch.testing.assert_close(double, draws().normal(50), atol=1e-5, rtol=1e-5)


def test_nobody_can_change_a_streams_ids_through_the_tensor_it_was_given() -> None:
    ids = torch.arange(3)
    stream = draws(ids)
    stream.ids.add_(1)
    assert ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_drawing_nothing_or_one_number_an_example_is_allowed(shape: tuple[int, ...]) -> None:
    assert draws().uniform(*shape).shape == (500, *shape)
    assert draws(IDS[:0]).uniform(4).shape == (0, 4)
