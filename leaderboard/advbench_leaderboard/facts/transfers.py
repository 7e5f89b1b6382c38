"""Examples that were crafted on one target and judged on another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from advbench.store import Store
from advbench_leaderboard.facts.rate import Rate


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How often a source's examples fool a target."""

    board: str
    cell: str
    source: str
    target: str
    entrant: str
    fooled: int
    n: int

    @property
    def rate(self) -> Rate:
        return Rate(self.fooled, self.n)


@dataclass(frozen=True, slots=True)
class Transfer:
    """How often a source's examples fool a target, with all else that is counted of them."""

    cell: str
    entrant: str
    source: str
    source_label: str
    target: str
    target_label: str
    n: int
    fooled: int
    first_right: int
    fooled_first_right: int
    undetected: int | None
    mean_size: float | None
    violations: int
    stop: str | None

    @property
    def rate(self) -> Rate:
        return Rate(self.fooled, self.n)


def on_board(store: Store, board: str) -> list[Transfer]:
    """Others' examples on each target of a board, in the order of entrants, sources and targets."""
    return store.read(
        Transfer,
        """
        SELECT cell, entrant, source, source_label, target, target_label, n, fooled, first_right, fooled_first_right,
          undetected, mean_size, violations, stop
        FROM rates WHERE NOT own AND board = ? AND n > 0
        ORDER BY entrant, source_label, source, target_label, target, cell
        """,
        board,
    )


def of_cells(store: Store, cells: Sequence[str]) -> dict[str, list[Outgoing]]:
    """By cell key: all targets that its examples were judged on, its own source apart."""
    by_cell: dict[str, list[Outgoing]] = defaultdict(list)
    for one in store.read(
        Outgoing,
        """
        SELECT board, cell, source, target, entrant, fooled, n FROM rates
        WHERE NOT own AND n > 0 AND cell IN (SELECT value FROM json_each(?))
        ORDER BY cell, board_name, board, target_label, target
        """,
        json.dumps(list(cells)),
    ):
        by_cell[one.cell].append(one)
    return by_cell


def worst(store: Store) -> dict[str, list[Outgoing]]:
    """By source: on each board and target the attack that fools most often; of equals the first by name."""
    by_source: dict[str, list[Outgoing]] = defaultdict(list)
    for one in store.read(
        Outgoing,
        """
        SELECT board, cell, source, target, entrant, fooled, n FROM (
          SELECT board, board_name, cell, source, target, target_label, entrant, fooled, n, row_number() OVER (
            PARTITION BY board, source, target ORDER BY 1.0 * fooled / n DESC, entrant, cell
          ) AS place
          FROM rates WHERE NOT own AND n > 0
        ) WHERE place = 1 ORDER BY source, board_name, board, 1.0 * fooled / n DESC, target_label, target
        """,
    ):
        by_source[one.source].append(one)
    return by_source
