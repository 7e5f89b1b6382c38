"""What cells of one attack did to their own target, example by example: classes that become others, and suspicions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from advbench.rates.rates import DetectorPoint, detector_curve
from advbench.store import Store
from advbench_leaderboard.facts.boards import Board
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.facts.entrants import Target
from advbench_leaderboard.facts.rate import Rate

_OUTCOMES = """
SELECT c.label, c.predicted AS clean, c.suspicion AS usual, o.goal_label, o.predicted, o.suspicion,
  o.reached AND o.violation IS NULL AND (NOT ? OR o.size <= ? * (1 + 1e-6)) AS fooled
FROM outcomes o JOIN clean c ON c.target = o.target AND c.example = o.example
WHERE o.cell = ? AND o.target = ? ORDER BY o.example
"""


@dataclass(frozen=True)
class Answers:
    """As one board judges them. Pairs are of the true class, and the class aimed at (targeted) or answered."""

    targeted: bool
    tried: Mapping[tuple[int, int], int]
    """Examples that were right on the clean image: all of the true class, or those that were sent to that class."""
    turned: Mapping[tuple[int, int], int]
    """Those of them that the attack fooled."""
    clean: tuple[float | None, ...]
    """Suspicions of the clean images, and of the fooled ones."""
    fooled: tuple[float | None, ...]
    n: int

    @property
    def classes(self) -> list[int]:
        return sorted({label for pair in self.tried for label in pair})

    def rate(self, source: int, answer: int) -> Rate | None:
        n = self.tried.get((source, answer), 0)
        return Rate(self.turned.get((source, answer), 0), n) if n and source != answer else None

    @property
    def curve(self) -> tuple[DetectorPoint, ...]:
        """Undetected against false positives; empty without a detector."""
        if all(value is None for value in self.clean):
            return ()
        return detector_curve(self.clean, self.fooled, self.n)


def answers(store: Store, board: Board, cells: Sequence[Cell], target: Target) -> Answers:
    """Of cells that differ only in their goal."""
    rows = [
        row for cell in cells for row in store.rows(_OUTCOMES, cell.minimizes, board.eps, cell.number, target.number)
    ]
    right = [row for row in rows if row["clean"] == row["label"]]
    targeted = any(cell.goal != "untargeted" for cell in cells)
    aim = "goal_label" if targeted else "predicted"
    turned = Counter((row["label"], row[aim]) for row in right if row["fooled"])
    if targeted:
        tried = Counter((row["label"], row["goal_label"]) for row in right)
    else:
        labels = Counter(row["label"] for row in right)
        classes = {*labels, *(answer for _, answer in turned)}
        tried = Counter({(label, answer): n for label, n in labels.items() for answer in classes})
    return Answers(
        targeted,
        tried,
        turned,
        tuple(row["usual"] for row in rows),
        tuple(row["suspicion"] for row in rows if row["fooled"]),
        len(rows),
    )
