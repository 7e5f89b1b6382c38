"""Accuracy against radius, from minimal-norm attacks."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from advbench.store import Store
from advbench.store.outcome_views import largest
from advbench_leaderboard.facts.boards import Board


@dataclass(frozen=True)
class Curve:
    """One target: the smallest size at which any minimal-norm attack changed a right answer, example by example."""

    target: str
    label: str
    n: int
    right: int
    """On clean images."""
    sizes: tuple[float, ...]
    """Of the examples that were changed at all; ascending."""
    entrants: tuple[str, ...]

    def accuracy(self, radius: float) -> float:
        return (self.right - bisect_right(self.sizes, largest(radius))) / self.n


@dataclass(frozen=True)
class _Judged:
    """A minimal-norm attack that is done on a target."""

    target: str
    entrant: str


@dataclass(frozen=True, slots=True)
class _Changed:
    """An example that was right on the clean image, and the least that changed its answer."""

    target: str
    size: float


def curves(store: Store, board: Board) -> tuple[Curve, ...]:
    """The curve of every target of the board on which a minimal-norm attack is done; by label."""
    entrants: dict[str, list[str]] = defaultdict(list)
    for cell in store.read(
        _Judged,
        "SELECT source AS target, entrant FROM board_cells "
        "WHERE board = ? AND minimizes AND current AND judged AND stands ORDER BY entrant",
        board.key,
    ):
        entrants[cell.target].append(cell.entrant)
    sizes: dict[str, list[float]] = defaultdict(list)
    for changed in store.read(
        _Changed,
        """
        SELECT k.source AS target, min(o.size) AS size
        FROM board_cells k
        CROSS JOIN judged_outcomes o ON o.board = k.board AND o.cell_id = k.cell_id AND o.target_id = k.source_id
        CROSS JOIN clean c ON c.target = o.target_id AND c.example = o.example
        WHERE k.board = ? AND k.minimizes AND k.current AND k.judged AND k.stands AND c.predicted = c.label
          AND o.violation IS NULL AND o.predicted <> c.label
        GROUP BY k.source, o.example HAVING size IS NOT NULL ORDER BY size
        """,
        board.key,
    ):
        sizes[changed.target].append(changed.size)
    return tuple(
        Curve(
            target=entry.target.key,
            label=entry.target.label,
            n=entry.clean.n,
            right=entry.clean.k,
            sizes=tuple(sizes[entry.target.key]),
            entrants=tuple(entrants[entry.target.key]),
        )
        for entry in sorted(board.entries, key=lambda entry: (entry.target.label, entry.target.key))
        if entry.target.key in entrants
    )
