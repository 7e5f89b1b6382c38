"""Reconstructive attacks over β: the best single one, the worst case over all of them, and the curve."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from advbench import Analysis, Finding, Findings, Inputs, JudgedCell, Material, Point, Series, share

BETA = re.compile(r"beta=[^,)]*(, )?")


def without_beta(attack: str) -> str:
    """The label of an attack less its β."""
    return BETA.sub("", attack).replace("(, ", "(").replace(", )", ")").replace("()", "")


def best_name(metric: str, dataset: str, target: str, attack: str, goal: str, on: str = "") -> str:
    """The name of a finding of `Betas`; `on` is the label of the target where that is not the cell's own."""
    aim = "" if goal == "untargeted" else f" → {goal}"
    return " · ".join([metric, dataset, target, f"{attack}{aim}", *([f"on {on}"] if on else [])])


@dataclass(frozen=True)
class Counted:
    """Successes of one cell on one target, by example."""

    beta: float
    reached: frozenset[int]
    undetected: frozenset[int]
    n: int


def best(cells: Sequence[Counted]) -> Counted:
    """The one with most undetected successes; among equals with most successes, then the smallest β."""
    return max(cells, key=lambda one: (len(one.undetected) / one.n, len(one.reached) / one.n, -one.beta))


@dataclass(frozen=True)
class Betas(Analysis):
    """For every reconstructive attack, goal and target of a suite: what its best β and all of them together reach.

    | finding | what |
    | --- | --- |
    | `beta` | the single β with most undetected successes |
    | `undetected`, `success` | its rates, of all images |
    | `undetected by any β`, `success by any β` | images with at least one |
    """

    name = "betas"

    suite: str = ""

    @property
    def inputs(self) -> Inputs:
        return Inputs((self.suite,))

    def find(self, material: Material) -> Findings:
        grouped: dict[tuple[str, str, str, str, str], list[Counted]] = defaultdict(list)
        for cell in material.cells(self.suite):
            beta = (cell.row.attack_params or {}).get("beta")
            if beta is None:
                continue
            for label, judge in cell.judges.items():
                own = judge.key == cell.source.key
                if own == ("reseed" in cell.source.defenses):
                    continue  # a substitute is asked about nothing but what it does to the other network
                on = "" if own else label
                about = (cell.dataset, cell.source.label, without_beta(cell.attack), cell.goal, on)
                grouped[about].append(counted_of(cell, float(beta), on))
        numbers: list[Finding] = []
        series: list[Series] = []
        for about, cells in grouped.items():
            cells.sort(key=lambda one: one.beta)
            chosen = best(cells)
            fooled = frozenset[int]().union(*(one.reached for one in cells))
            silent = frozenset[int]().union(*(one.undetected for one in cells))
            for metric, hits in (
                ("success", len(chosen.reached)),
                ("undetected", len(chosen.undetected)),
                ("success by any β", len(fooled)),
                ("undetected by any β", len(silent)),
            ):
                numbers.append(share(best_name(metric, *about), hits, chosen.n))
            numbers.append(Finding(best_name("beta", *about), chosen.beta))
            series += [
                Series(best_name(metric, *about), tuple(_point(one, metric) for one in cells))
                for metric in ("success", "undetected")
            ]
        return Findings(tuple(numbers), tuple(series))


def counted_of(cell: JudgedCell, beta: float, on: str = "") -> Counted:
    """Which examples of a cell are successes, and which of these the target's detector does not flag."""
    threshold = cell.judges[on].threshold if on else cell.source.threshold
    rows = cell.outcomes(on)
    reached = frozenset(row.example for row in rows if row.reached and row.violation is None)
    silent = frozenset(
        row.example
        for row in rows
        if row.example in reached and threshold is not None and not (row.suspicion or 0.0) > threshold
    )
    return Counted(beta, reached, silent, len(rows))


def _point(one: Counted, metric: str) -> Point:
    hits = one.reached if metric == "success" else one.undetected
    rate = share("", len(hits), one.n)
    assert rate.value is not None
    return Point(one.beta, rate.value, rate.low, rate.high)


@dataclass(frozen=True)
class AnyAttack(Analysis):
    """Images on which at least one attack of several suites succeeds, or succeeds unseen; of those that all attacked.

    Only attacks inside the ball that the suites share: one that looks for the smallest change anywhere is left out.
    """

    name = "any-attack"

    suites: str = ""
    """Names, separated by blanks."""

    @property
    def inputs(self) -> Inputs:
        return Inputs(tuple(self.suites.split()))

    def find(self, material: Material) -> Findings:
        cells = [cell for suite in self.suites.split() for cell in material.cells(suite) if not cell.row.minimizes]
        numbers: list[Finding] = []
        for goal in dict.fromkeys(cell.goal for cell in cells):
            counted = [counted_of(cell, 0.0) for cell in cells if cell.goal == goal]
            fewest = min(one.n for one in counted)
            judged = [{row.example for row in cell.outcomes()} for cell in cells if cell.goal == goal]
            common = set.intersection(*judged)
            assert len(common) == fewest, "suites judge the first test images, so the smaller set lies in the larger"
            fooled = set[int]().union(*(one.reached for one in counted)) & common
            silent = set[int]().union(*(one.undetected for one in counted)) & common
            about = (cells[0].dataset, cells[0].source.label, "any attack", goal)
            numbers.append(share(best_name("success", *about), len(fooled), len(common)))
            numbers.append(share(best_name("undetected", *about), len(silent), len(common)))
        return Findings(tuple(numbers))
