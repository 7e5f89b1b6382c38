"""Accuracy against radius, from minimal-norm attacks."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advbench.store import Store
from advbench_leaderboard.facts.entrants import Target

if TYPE_CHECKING:
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
        return (self.right - bisect_right(self.sizes, radius * (1 + 1e-6))) / self.n


def curves(store: Store, board: Board, targets: Mapping[str, Target]) -> tuple[Curve, ...]:
    """Of every target of the board's family on which such an attack is done; by label."""
    entrants: dict[str, list[str]] = defaultdict(list)
    for row in store.rows(
        "SELECT source, entrant FROM board_cells WHERE board = ? AND minimizes AND current AND judged AND stands "
        "ORDER BY entrant",
        board.key,
    ):
        entrants[row["source"]].append(row["entrant"])
    sizes: dict[str, list[float]] = defaultdict(list)
    for row in store.rows(
        """
        SELECT k.source AS target, o.example,
          min(CASE WHEN o.violation IS NULL AND o.predicted <> c.label THEN o.size END) AS size
        FROM board_cells k
        CROSS JOIN outcomes o ON o.cell = k.cell_id AND o.target = k.source_id
        CROSS JOIN clean c ON c.target = o.target AND c.example = o.example
        WHERE k.board = ? AND k.minimizes AND k.current AND k.judged AND k.stands AND c.predicted = c.label
        GROUP BY k.source, o.example ORDER BY size
        """,
        board.key,
    ):
        if row["size"] is not None:
            sizes[row["target"]].append(row["size"])
    clean = {row["target"]: row for row in store.rates("clean_accuracy", board.key)}
    return tuple(
        Curve(
            target=key,
            label=targets[key].label,
            n=clean[key]["n"],
            right=clean[key]["right"],
            sizes=tuple(sizes[key]),
            entrants=tuple(entrants[key]),
        )
        for key in sorted(entrants, key=lambda key: (targets[key].label, key))
        if key in clean
    )
