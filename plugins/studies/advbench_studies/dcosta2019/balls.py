"""The trilemma of section 6.1: the same networks against all four balls, and what each training gains over none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, JudgedCell, Material, share


@dataclass(frozen=True)
class Balls(Analysis):
    """Digits still right under every attack to one goal on a network in a ball: the worst case, digit by digit.

    `attack` names one of them, where not all count.

    With a `base`, also what each other network gains over it in the same ball, on the digits that both were attacked
    on.
    """

    name = "balls"

    suites: tuple[str, ...] = ()
    base: str = ""
    goal: str = "untargeted"
    attack: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=self.suites)

    def find(self, material: Material) -> Findings:
        one = self.attack or None
        cells = [cell for suite in self.suites for cell in material.cells(suite, goal=self.goal, attack=one)]
        kept: dict[tuple[str, str], dict[int, bool]] = {}
        for ball in cells:
            radius = ball.row.eps
            if radius is None:
                continue
            right = kept.setdefault((ball.source.label, ball.threat), {})
            for cell in (other for other in cells if searches(other, ball)):
                for row in cell.outcomes():
                    outside = cell.row.eps is None and row.size > radius * (1 + 1e-6)
                    right[row.example] = right.get(row.example, True) and (outside or row.predicted == row.label)
        numbers = [share(kept_name(*place), sum(right.values()), len(right)) for place, right in kept.items()]
        return Findings((*numbers, *self._gains(kept)))

    def _gains(self, kept: dict[tuple[str, str], dict[int, bool]]) -> Iterator[Finding]:
        for (target, threat), right in kept.items():
            base = kept.get((self.base, threat))
            if base is None or target == self.base:
                continue
            both = sorted(right.keys() & base.keys())
            mine, theirs = (share("", sum(one[i] for i in both), len(both)) for one in (right, base))
            yield gained(gain_name(target, threat), mine, theirs)


def gained(name: str, mine: Finding, theirs: Finding) -> Finding:
    """A difference of two shares with Newcombe's interval: of few digits that are all alike it is still wide.

    That both are of the same digits would narrow it; it is not made use of.
    """
    (p, low, high), (q, below, above) = ((one.value or 0.0, one.low or 0.0, one.high or 0.0) for one in (mine, theirs))
    if not mine.n:
        return Finding(name, None, n=0, unit="points")
    least, most = math.hypot(p - low, above - q), math.hypot(high - p, q - below)
    return Finding(name, p - q, p - q - least, p - q + most, mine.n, "points")


def searches(cell: JudgedCell, ball: JudgedCell) -> bool:
    """Whether a cell tells something about the ball of another: its own, or all of the space around the same images."""
    same = cell.source.key == ball.source.key and cell.row.family == ball.row.family
    return same and cell.row.eps in (None, ball.row.eps)


def kept_name(target: str, threat: str) -> str:
    return f"right · {target} · {threat}"


def gain_name(target: str, threat: str) -> str:
    return f"gain · {target} · {threat}"
