"""Intervals, paired tests and shared ranks, against values known from elsewhere."""

from __future__ import annotations

import math
import random

import pytest
from scipy.stats import binomtest

from advbench.rates.uncertainty import (
    binomial,
    detector_curve,
    paired,
    shared_ranks,
    two_samples,
    undetected_at,
    wilson,
)
from advbench.store import Store
from advbench.store.wilson import columns


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (200, 200), (0, 200), (617, 1000)])
def test_the_interval_agrees_with_scipy(k: int, n: int) -> None:
    found = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (200, 200), (617, 1_000_003)])
def test_views_and_python_know_one_interval(k: int, n: int) -> None:
    with Store.memory() as store:
        (row,) = store.rows(f"SELECT {columns('k', 'n', 'rate')} FROM (SELECT ? AS k, ? AS n)", k, n)
    assert (row["rate"], row["rate_low"], row["rate_high"]) == (k / n, *wilson(k, n))


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_no_interval_is_invented_for_an_impossible_rate(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        wilson(k, n)


def test_the_paired_test_is_exact() -> None:
    a = [True] * 9 + [False] * 1 + [True] * 90
    b = [False] * 9 + [True] * 1 + [True] * 90
    assert paired(a, b) == pytest.approx(22 / 1024)  # 2 * (1 + 10) / 2**10
    assert paired(a, a) == 1.0
    assert paired(a, b) == paired(b, a)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 301])
def test_binomial_sums_every_case(n: int) -> None:
    for k in range(n // 2 + 1):
        exact = 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n
        assert binomial(k, n) == pytest.approx(min(1.0, exact), rel=1e-9)


def test_binomial_survives_large_samples() -> None:
    assert binomial(50_000, 100_000) == pytest.approx(1.0)
    assert binomial(49_000, 100_000) == pytest.approx(binomtest(49_000, 100_000).pvalue, rel=1e-6)
    assert binomial(0, 100_000) == 0.0


def test_paired_verdicts_of_different_examples_are_refused() -> None:
    with pytest.raises(ValueError):
        paired([True], [True, False])


def test_neighbours_share_a_rank_unless_the_difference_is_significant() -> None:
    ranks = shared_ranks(
        {
            "worse": [True] * 60 + [False] * 40,
            "best": [True] * 90 + [False] * 10,
            "nearly": [True] * 88 + [False] * 12,
            "worst": [False] * 100,
        }
    )
    assert ranks == [("best", 1), ("nearly", 1), ("worse", 3), ("worst", 4)]


def test_a_chain_of_small_steps_is_not_one_great_tie() -> None:
    ranks = dict(shared_ranks({k: [True] * (100 - 4 * k) + [False] * (4 * k) for k in range(6)}))
    assert ranks[0] == ranks[1] == 1
    assert ranks[5] > 1


def test_equal_targets_keep_the_order_they_came_in() -> None:
    names = list("dbca")
    random.Random(0).shuffle(names)
    assert [name for name, _ in shared_ranks({name: [True, False] for name in names})] == names


def test_no_targets_no_ranks() -> None:
    assert shared_ranks({}) == []


def test_the_curve_of_a_detector_counts_every_threshold() -> None:
    draw = random.Random(0)
    clean = [round(draw.gauss(0, 1), 1) for _ in range(200)]  # with ties
    reached = [round(draw.gauss(1, 1), 1) for _ in range(120)]
    curve = detector_curve(clean, reached, 150)
    assert curve[0].false_positives == 1
    assert curve[-1].false_positives == 0
    for point in curve:
        assert point.false_positives == sum(value > point.threshold for value in clean) / 200
        assert point.undetected == sum(value <= point.threshold for value in reached) / 150
    order = [(-point.false_positives, point.undetected) for point in curve]
    assert order == sorted(order)


def test_the_curve_is_read_as_a_threshold_is_set() -> None:
    clean = [float(value) for value in range(20)]
    curve = detector_curve(clean, [17.5, 18.0, 18.5, None], 10)
    point = undetected_at(curve, 0.05)  # one of twenty raises an alarm above the 19th
    assert (point.threshold, point.false_positives, point.undetected) == (18.0, 0.05, 0.3)
    assert undetected_at(curve, 0.049).undetected == 0.4
    assert undetected_at(curve, 1.0).undetected == 0.1  # even who suspects everything hears nothing of no number


def test_suspicions_that_are_no_numbers_raise_no_alarm() -> None:
    curve = detector_curve([math.nan, None, 1.0, 2.0], [math.nan, 3.0], 2)
    assert [(point.false_positives, point.undetected) for point in curve] == [(0.5, 0.5), (0.25, 0.5), (0.0, 0.5)]


@pytest.mark.parametrize(("clean", "reached", "n"), [([], [], 1), ([1.0], [], 0), ([1.0], [1.0, 2.0], 1)])
def test_no_curve_is_invented(clean: list[float], reached: list[float], n: int) -> None:
    with pytest.raises(ValueError, match="no curve"):
        detector_curve(clean, reached, n)


@pytest.mark.parametrize(
    ("one", "other", "due"),
    [
        ((1, 9), (11, 14), 0.002759456185220083),  # Fisher's own kind of table, [[1, 8], [11, 3]]
        ((8, 10), (1, 6), 0.03496503496503495),
        ((5, 10), (5, 10), 1.0),
        ((0, 0), (3, 5), 1.0),
        ((0, 20), (0, 30), 1.0),
    ],
)
def test_rates_of_different_examples_are_held_against_each_other_exactly(
    one: tuple[int, int], other: tuple[int, int], due: float
) -> None:
    assert two_samples(*one, *other) == pytest.approx(due, rel=1e-9)
    assert two_samples(*other, *one) == pytest.approx(due, rel=1e-9)


def test_two_samples_of_thousands_fit_a_float() -> None:
    assert two_samples(4000, 10000, 4000, 10000) == pytest.approx(1.0)
    assert 0.0 <= two_samples(9000, 10000, 1000, 10000) < 1e-300
    with pytest.raises(ValueError, match="no rates"):
        two_samples(3, 2, 1, 2)
