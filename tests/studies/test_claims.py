"""Verdicts on claims from findings with intervals."""

from __future__ import annotations

import pytest

from advbench import ClaimVerdict, Finding, above, below, every, less, mean, most, near, opposite, share
from advbench.studies.estimates import student


def number(value: float | None, low: float | None = None, high: float | None = None) -> Finding:
    return Finding("x", value, low, high)


SMALL, LARGE, WIDE, UNKNOWN = number(1, 0.5, 1.5), number(3, 2.5, 3.5), number(2, 1, 3), number(None)
HOLDS, FAILS, OPEN = (ClaimVerdict(word, word) for word in ("holds", "fails", "undecided"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        (SMALL, LARGE, "holds"),
        (LARGE, SMALL, "fails"),
        (SMALL, WIDE, "undecided"),
        (WIDE, WIDE, "undecided"),
        (UNKNOWN, LARGE, "undecided"),
        (SMALL, UNKNOWN, "undecided"),
        (number(1), number(2), "holds"),
        (number(2), number(1), "fails"),
    ],
)
def test_one_number_is_less_than_another(one: Finding, other: Finding, outcome: str) -> None:
    assert less(one, other).outcome == outcome


def test_limits() -> None:
    assert [below(one, 2).outcome for one in (SMALL, LARGE, WIDE)] == ["holds", "fails", "undecided"]
    assert [above(one, 2).outcome for one in (SMALL, LARGE, WIDE)] == ["fails", "holds", "undecided"]
    assert [above(UNKNOWN, 0).outcome, below(UNKNOWN, 0).outcome] == ["undecided"] * 2


def test_near() -> None:
    assert near(SMALL, number(1, 0.9, 1.1), 1).outcome == "holds"
    assert near(SMALL, LARGE, 1).outcome == "fails"
    assert near(SMALL, LARGE, 2).outcome == "undecided"
    assert near(SMALL, UNKNOWN, 9).outcome == "undecided"


def test_several_at_once() -> None:
    assert [every(HOLDS, HOLDS).outcome, every(HOLDS, OPEN).outcome, every(OPEN, FAILS).outcome] == [
        "holds",
        "undecided",
        "fails",
    ]
    assert [most(HOLDS, HOLDS, FAILS).outcome, most(HOLDS, FAILS).outcome, most(HOLDS, OPEN, FAILS).outcome] == [
        "holds",
        "fails",
        "undecided",
    ]
    assert [every().outcome, most().outcome] == ["undecided", "undecided"]
    assert opposite(HOLDS).outcome == "fails"
    assert every(HOLDS, FAILS).words.startswith("1 of 2 hold")


def test_estimates() -> None:
    one = share("s", 5, 10)
    assert (one.value, one.n, one.unit) == (50.0, 10, "percent")
    assert one.low == pytest.approx(23.66, abs=0.01)  # Wilson's, as tables have it
    assert one.high == pytest.approx(76.34, abs=0.01)
    assert share("s", 0, 0).value is None
    assert mean("m", []).value is None
    assert mean("m", [2.0]).low is None
    two = mean("m", [1.0, 3.0])
    assert (two.value, two.low) == (2.0, pytest.approx(2 - 12.706))
    alike = mean("m", [2.0, 2.0, 2.0])  # which says nothing of how the next one would be
    assert (alike.value, alike.low, alike.n) == (2.0, None, 3)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (30, 2.042), (10**6, 1.960)]
)
def test_quantiles_of_student_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, abs=2e-3)


def test_what_was_counted_and_has_no_interval_decides_nothing() -> None:
    counted = Finding("x", 1.0, n=1)
    assert [below(counted, 2).outcome, above(counted, 0).outcome] == ["undecided"] * 2
    assert [less(counted, LARGE).outcome, less(LARGE, counted).outcome] == ["undecided"] * 2
    assert near(counted, number(1.0), 5).outcome == "undecided"
