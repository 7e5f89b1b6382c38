"""Examples that were crafted on one target and judged on another."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    rate: Rate


def of_cells(store: Store, cells: Sequence[str]) -> dict[str, list[Outgoing]]:
    """By cell key: all targets that its examples were judged on, its own source apart."""
    found: dict[str, list[Outgoing]] = defaultdict(list)
    for row in store.rows(
        """
        SELECT board, cell, source, target, entrant, fooled, n FROM rates
        WHERE NOT own AND n > 0 AND cell IN (SELECT value FROM json_each(?))
        ORDER BY cell, board_name, board, target_label, target
        """,
        json.dumps(list(cells)),
    ):
        found[row["cell"]].append(_outgoing(row))
    return found


def worst(store: Store) -> dict[str, list[Outgoing]]:
    """By source: on each board and target the attack that fools most often; of equals the first by name."""
    found: dict[str, list[Outgoing]] = defaultdict(list)
    for row in store.rows("""
        SELECT * FROM (
          SELECT board, board_name, cell, source, target, target_label, entrant, fooled, n, row_number() OVER (
            PARTITION BY board, source, target ORDER BY 1.0 * fooled / n DESC, entrant, cell
          ) AS place
          FROM rates WHERE NOT own AND n > 0
        ) WHERE place = 1 ORDER BY source, board_name, board, 1.0 * fooled / n DESC, target_label, target
    """):
        found[row["source"]].append(_outgoing(row))
    return found


def _outgoing(row: dict[str, Any]) -> Outgoing:
    rate = Rate(row["fooled"], row["n"])
    return Outgoing(row["board"], row["cell"], row["source"], row["target"], row["entrant"], rate)
