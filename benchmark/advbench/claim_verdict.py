"""Verdicts on claims: holds, fails or undecided, worked out from findings with intervals and never written by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from advbench.findings import Finding

Outcome = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class ClaimVerdict:
    """What the findings say of a claim, and the numbers that say it."""

    outcome: Outcome
    words: str


def less(one: Finding, other: Finding) -> ClaimVerdict:
    """Whether one number lies below another: decided where their intervals do not meet."""
    return ClaimVerdict(_compared(_low(one), _high(one), _low(other), _high(other)), f"{told(one)} < {told(other)}")


def below(one: Finding, limit: float) -> ClaimVerdict:
    """Whether a number lies below a limit: decided where the limit is outside of its interval."""
    return ClaimVerdict(_compared(_low(one), _high(one), limit, limit), f"{told(one)} < {limit:g}")


def above(one: Finding, limit: float) -> ClaimVerdict:
    """Whether a number lies above a limit."""
    return ClaimVerdict(_compared(limit, limit, _low(one), _high(one)), f"{told(one)} > {limit:g}")


def near(one: Finding, other: Finding, margin: float) -> ClaimVerdict:
    """Whether two numbers differ by less than a margin, whatever their intervals allow."""
    least = max(0.0, _low(one) - _high(other), _low(other) - _high(one))
    most = max(_high(one) - _low(other), _high(other) - _low(one))
    words = f"|{told(one)} − {told(other)}| < {margin:g}"
    if one.value is None or other.value is None:
        return ClaimVerdict("undecided", words)
    return ClaimVerdict("holds" if most < margin else "fails" if least >= margin else "undecided", words)


def every(*verdicts: ClaimVerdict) -> ClaimVerdict:
    """Holds where all of them hold, fails where one fails."""
    outcomes = [one.outcome for one in verdicts]
    failed, open_ = "fails" in outcomes, "undecided" in outcomes or not outcomes
    return ClaimVerdict("fails" if failed else "undecided" if open_ else "holds", _counted(verdicts))


def most(*verdicts: ClaimVerdict) -> ClaimVerdict:
    """Holds where more than half of them hold, fails where that can't be any more."""
    holds, fails = (sum(one.outcome == word for one in verdicts) for word in ("holds", "fails"))
    half = len(verdicts) / 2
    return ClaimVerdict("holds" if holds > half else "fails" if fails >= half > 0 else "undecided", _counted(verdicts))


def opposite(one: ClaimVerdict) -> ClaimVerdict:
    """Of a claim that says that something is not so."""
    turned: dict[Outcome, Outcome] = {"holds": "fails", "fails": "holds", "undecided": "undecided"}
    return ClaimVerdict(turned[one.outcome], f"not: {one.words}")


def told(one: Finding) -> str:
    """A finding in a sentence: its name, its value and its interval."""
    if one.value is None:
        return f"{one.name} (nothing to count)"
    interval = "" if one.low is None or one.high is None else f" [{one.low:.4g}, {one.high:.4g}]"
    return f"{one.name} {one.value:.4g}{interval}"


def _compared(low: float, high: float, other_low: float, other_high: float) -> Outcome:
    """A number that is unknown is NaN, and undecided."""
    return "holds" if high < other_low else "fails" if low >= other_high else "undecided"


def _low(one: Finding) -> float:
    return _end(one, one.low, -math.inf)


def _high(one: Finding) -> float:
    return _end(one, one.high, math.inf)


def _end(one: Finding, end: float | None, open_end: float) -> float:
    """An end of the interval: the number itself where it was computed, and anywhere where it was counted from too few
    examples to tell how far it may be off."""
    if one.value is None:
        return math.nan
    if end is not None:
        return end
    return one.value if one.n is None else open_end


def _counted(verdicts: tuple[ClaimVerdict, ...]) -> str:
    holds = sum(one.outcome == "holds" for one in verdicts)
    return f"{holds} of {len(verdicts)} hold: " + "; ".join(f"{one.words} ({one.outcome})" for one in verdicts)
