"""The rates of a suite's cells as findings, for what a paper's table counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from advbench.findings import Finding, Findings
from advbench.store.rows import LabelledOutcome, TargetRow
from advbench.studies.estimates import mean, share
from advbench.studies.material import JudgedCell, Material, NotFoundError
from advbench.study import Analysis, Inputs


@dataclass(frozen=True)
class Rates(Analysis):
    """Counts of every finished cell of a suite, on its own target and on every other one that it was judged on.

    | metric | of | counted |
    | --- | --- | --- |
    | `success` | all examples | the goal was reached by the rules |
    | `undetected` | all examples | … and the target's detector raised no alarm |
    | `fooled` | those that the target gets right when clean | … the goal was reached by the rules |
    | `confident` | all examples | … with a probability above one half |
    | `transferred` | successes on the cell's own target | … that reach the goal on another target, too |
    | `right` | all examples | the target is still right |
    | `clean` | all examples | right when clean |
    | `size` | successes, where right when clean | the mean size |

    Those that need a success count it within `radius`, where one is given: attacks that look for the smallest
    perturbation are bounded by nothing else.
    """

    name: ClassVar[str] = "rates"

    suite: str = ""
    radius: float | None = None

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=(self.suite,))

    def find(self, material: Material) -> Findings:
        cells = material.cells(self.suite)
        found: list[Finding] = []
        for place, cell in enumerate(cells):
            material.progress(place / len(cells), f"{cell.attack} on {cell.source.label}")
            own = {row.example for row in cell.outcomes() if self._success(row)}
            for label, target in cell.judges.items():
                on = "" if target.key == cell.source.key else label
                found += self._counted(cell, target, own, on)
        by_name: dict[str, Finding] = {}
        for one in found:  # the clean rate of a target is counted with each of its cells
            if by_name.setdefault(one.name, one) != one:
                raise NotFoundError(
                    f"two cells of the suite {self.suite} are both called {one.name!r}: make it two suites"
                )
        return Findings(tuple(by_name.values()))

    def _counted(self, cell: JudgedCell, target: TargetRow, own: set[int], on: str) -> Iterator[Finding]:
        rows, clean = cell.outcomes(on), cell.clean(on)
        successes = [row for row in rows if self._success(row)]
        n = len(rows)

        def name(metric: str) -> str:
            return cell_name(metric, cell, on)

        yield share(name("success"), len(successes), n)
        if target.threshold is not None:
            silent = [row for row in successes if not (row.suspicion or 0.0) > target.threshold]
            yield share(name("undetected"), len(silent), n)
        first_right = [row for row in rows if clean.get(row.example)]
        broken = [row for row in successes if clean.get(row.example)]
        yield share(name("fooled"), len(broken), len(first_right))
        yield share(name("confident"), sum((row.confidence or 0.0) > 0.5 for row in successes), n)
        yield share(name("right"), sum(row.predicted == row.label for row in rows), n)
        yield share(name("clean"), sum(clean.values()), len(clean))
        if on:
            yield share(name("transferred"), sum(row.example in own for row in successes), len(own))
        else:
            yield mean(name("size"), (row.size for row in broken))

    def _success(self, row: LabelledOutcome) -> bool:
        inside = self.radius is None or row.size <= self.radius * (1 + 1e-6)
        return bool(row.reached) and row.violation is None and inside


def cell_name(metric: str, cell: JudgedCell, on: str = "") -> str:
    """The name of a finding about a cell."""
    return rate_name(
        metric,
        dataset=cell.dataset,
        target=cell.source.label,
        attack=cell.attack,
        goal=cell.goal,
        threat=cell.threat,
        on=on,
    )


def rate_name(
    metric: str, *, dataset: str, target: str, attack: str, goal: str = "untargeted", threat: str, on: str = ""
) -> str:
    """The name of a finding of `Rates`: `target` is the label of the cell's own target, `on` that of another one.

    Labels leave out what has its default, as in `advbench show --cells`: `small-cnn+reconstruction`. `threat` is the
    ball's label, and its bare name where an attack looks for the smallest perturbation.
    """
    aim = "" if goal == "untargeted" else f" → {goal}"
    return " · ".join([metric, dataset, target, f"{attack}{aim}", threat, *([f"on {on}"] if on else [])])
