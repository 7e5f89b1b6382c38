"""Cells, and how each came out on the target that it was crafted on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advbench.protocol import PROTOCOL
from advbench.store import Store
from advbench_leaderboard.facts.rate import Rate, rate_of


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack × threat × goal × source target."""

    key: str
    number: int
    """The database's own; for questions in SQL, never for a page."""
    entrant: str
    """The attack, with its goal where that is not untargeted."""
    attack: str
    goal: str
    source: str
    threat: str
    family: str
    eps: float | None
    params: Mapping[str, Any]
    minimizes: bool
    stop: str | None
    seed: int | None
    protocol: int
    budget: int | None
    fit: str | None
    needs: str | None
    beyond_gradients: bool | None
    data_fingerprint: str
    examples: str
    count: int
    status: str
    """done, failed or unfinished."""
    reason: str | None
    run: str | None
    """Of the latest event."""
    at: str | None
    current: bool
    """The one that counts on its boards, of cells that differ only in version."""
    latest: bool
    seconds: float
    forwards: int
    backwards: int

    @property
    def earlier(self) -> bool:
        """Whether it was crafted and judged by rules that no longer hold."""
        return self.protocol < PROTOCOL


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A cell on its own source, as one board judges it."""

    cell: str
    entrant: str
    fooled: Rate
    first_right: Rate | None
    """Fooled, of those that were right on the clean image."""
    accuracy: Rate
    """Right on the clean image and under this attack."""
    undetected: Rate | None
    mean_size: float | None
    """Of the perturbations that fooled images which were right when clean."""
    median_size: float | None
    violations: int


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A cell on its own source, where no board judges its examples; without a board's radius, of whatever size."""

    cell: str
    fooled: Rate
    accuracy: Rate


@dataclass(frozen=True, slots=True)
class Incoming:
    """The cell of another target whose examples fool this one most often."""

    cell: str
    source: str
    entrant: str
    rate: Rate


def cells(store: Store) -> dict[str, Cell]:
    """By key; what they cost is the sum over their shards."""
    return {
        row["key"]: Cell(
            key=row["key"],
            number=row["id"],
            entrant=row["entrant"],
            attack=row["attack"],
            goal=row["goal"],
            source=row["source"],
            threat=row["threat"],
            family=row["family"],
            eps=row["eps"],
            params=row["params"] or {},
            minimizes=bool(row["minimizes"]),
            stop=row["stop"],
            seed=row["seed"],
            protocol=row["protocol"],
            budget=row["budget"],
            fit=row["fit"],
            needs=row["needs"],
            beyond_gradients=None if row["beyond_gradients"] is None else bool(row["beyond_gradients"]),
            data_fingerprint=row["data_fingerprint"],
            examples=row["examples"],
            count=row["count"],
            status=row["status"],
            reason=row["reason"],
            run=row["run"],
            at=row["at"],
            current=bool(row["current"]),
            latest=bool(row["latest"]),
            seconds=row["spent"] or 0.0,
            forwards=row["forwards"] or 0,
            backwards=row["backwards"] or 0,
        )
        for row in store.rows("""
            SELECT c.*, s.entrant, s.status, s.reason, s.run, s.at, s.current, s.latest,
              p.spent, p.forwards, p.backwards
            FROM cells c JOIN cell_state s ON s.cell = c.id
            LEFT JOIN (
              SELECT cell, sum(seconds) AS spent, sum(forwards) AS forwards, sum(backwards) AS backwards
              FROM shards GROUP BY cell
            ) p ON p.cell = c.id
            ORDER BY s.entrant, c.source, c.key
        """)
    }


def verdicts(store: Store) -> dict[str, dict[str, dict[str, Verdicts]]]:
    """By board, source and entrant; a goal that applied to no example is left out."""
    medians = {(row["board"], row["cell"]): row["median_size"] for row in store.rates("sizes")}
    found: dict[str, dict[str, dict[str, Verdicts]]] = defaultdict(lambda: defaultdict(dict))
    for row in store.rows("""
        SELECT board, cell, entrant, source, n, fooled, first_right, fooled_first_right, still_right, undetected,
          mean_size, violations
        FROM rates WHERE own AND n > 0 ORDER BY board, source, entrant, cell
    """):
        fooled, accuracy = rate_of(row, "fooled", "n"), rate_of(row, "still_right", "n")
        assert fooled is not None  # n > 0
        assert accuracy is not None
        found[row["board"]][row["source"]][row["entrant"]] = Verdicts(
            cell=row["cell"],
            entrant=row["entrant"],
            fooled=fooled,
            first_right=rate_of(row, "fooled_first_right", "first_right"),
            accuracy=accuracy,
            undetected=rate_of(row, "undetected", "n"),
            mean_size=row["mean_size"],
            median_size=medians.get((row["board"], row["cell"])),
            violations=row["violations"],
        )
    return found


def unplaced(store: Store) -> dict[str, Unplaced]:
    """By key: the cells that are done, and whose examples no board judges."""
    found = {}
    for row in store.rates("unplaced"):
        fooled, accuracy = rate_of(row, "fooled", "n"), rate_of(row, "still_right", "n")
        assert fooled is not None  # a cell is counted by its outcomes
        assert accuracy is not None
        found[row["cell"]] = Unplaced(row["cell"], fooled, accuracy)
    return found


def incoming(store: Store) -> dict[tuple[str, str], Incoming]:
    """By board and target: the worst of others' examples; of equals the first by source, entrant and key."""
    return {
        (row["board"], row["target"]): Incoming(
            row["cell"], row["source"], row["entrant"], Rate(row["fooled"], row["n"])
        )
        for row in store.rows("""
            SELECT * FROM (
              SELECT board, target, source, cell, entrant, fooled, n, row_number() OVER (
                PARTITION BY board, target ORDER BY 1.0 * fooled / n DESC, source_label, source, entrant, cell
              ) AS place
              FROM rates WHERE NOT own AND n > 0
            ) WHERE place = 1
        """)
    }
