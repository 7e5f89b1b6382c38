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
    precision: str | None
    """Of the attack's passes; None for float32."""
    needs: str | None
    beyond_gradients: bool | None
    data_fingerprint: str
    examples: str
    count: int
    drawn: int | None
    """The seed by which its examples were drawn; None for the first ones."""
    status: str
    """done, failed or unfinished."""
    reason: str | None
    run: str | None
    """The run that its latest event belongs to; `at` is when that was."""
    at: str | None
    current: bool
    """Whether it counts on its boards, of cells that differ only in version."""
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
    n: int
    reached: int
    right: int
    """On the clean image and under the attack."""

    @property
    def fooled(self) -> Rate:
        return Rate(self.reached, self.n)

    @property
    def accuracy(self) -> Rate:
        return Rate(self.right, self.n)


@dataclass(frozen=True, slots=True)
class Incoming:
    """The cell of another target whose examples fool this one most often."""

    board: str
    target: str
    cell: str
    source: str
    entrant: str
    fooled: int
    n: int

    @property
    def rate(self) -> Rate:
        return Rate(self.fooled, self.n)


def cells(store: Store) -> dict[str, Cell]:
    """By key; what they cost is the sum over their shards."""
    stored = store.read(
        Cell,
        """
        SELECT c.key, c.id AS number, s.entrant, c.attack, c.goal, c.source, c.threat, c.family, c.eps,
          coalesce(c.params, '{}') AS params, c.minimizes, c.stop, c.seed, c.protocol, c.budget, c.fit, c.precision,
          c.needs, c.beyond_gradients, c.data_fingerprint, c.examples, c.count, d.seed AS drawn, s.status, s.reason,
          s.run, s.at,
          s.current, s.latest, coalesce(p.seconds, 0.0) AS seconds, coalesce(p.forwards, 0) AS forwards,
          coalesce(p.backwards, 0) AS backwards
        FROM cells c JOIN cell_state s ON s.cell = c.id LEFT JOIN example_draws d ON d.fingerprint = c.examples
        LEFT JOIN (
          SELECT cell, sum(seconds) AS seconds, sum(forwards) AS forwards, sum(backwards) AS backwards
          FROM shards GROUP BY cell
        ) p ON p.cell = c.id
        ORDER BY s.entrant, c.source, c.key
        """,
    )
    return {cell.key: cell for cell in stored}


@dataclass(frozen=True, slots=True)
class Placed:
    """A cell that belongs to a board."""

    cell: str
    board: str
    stands: bool
    """Whether the board lists its target, and no later one of the same network."""


def placed(store: Store) -> list[Placed]:
    return store.read(Placed, "SELECT cell, board, stands FROM board_cells ORDER BY board_name, board")


@dataclass(frozen=True)
class _Count:
    n: int


def outcome_count(store: Store) -> int:
    (count,) = store.read(_Count, "SELECT count(*) AS n FROM outcomes")
    return count.n


@dataclass(frozen=True, slots=True)
class _Counted:
    board: str
    cell: str
    entrant: str
    source: str
    n: int
    fooled: int
    first_right: int
    fooled_first_right: int
    still_right: int
    undetected: int | None
    mean_size: float | None
    violations: int


@dataclass(frozen=True, slots=True)
class _Median:
    board: str
    cell: str
    median_size: float


def verdicts(store: Store) -> dict[str, dict[str, dict[str, Verdicts]]]:
    """By board, source and entrant; a goal that applied to no example is left out."""
    medians = {
        (one.board, one.cell): one.median_size
        for one in store.read(_Median, "SELECT board, cell, median_size FROM sizes")
    }
    by_board: dict[str, dict[str, dict[str, Verdicts]]] = defaultdict(lambda: defaultdict(dict))
    for one in store.read(
        _Counted,
        """
        SELECT board, cell, entrant, source, n, fooled, first_right, fooled_first_right, still_right, undetected,
          mean_size, violations
        FROM rates WHERE own AND n > 0 ORDER BY board, source, entrant, cell
        """,
    ):
        by_board[one.board][one.source][one.entrant] = Verdicts(
            cell=one.cell,
            entrant=one.entrant,
            fooled=Rate(one.fooled, one.n),
            first_right=rate_of(one.fooled_first_right, one.first_right),
            accuracy=Rate(one.still_right, one.n),
            undetected=rate_of(one.undetected, one.n),
            mean_size=one.mean_size,
            median_size=medians.get((one.board, one.cell)),
            violations=one.violations,
        )
    return by_board


def unplaced(store: Store) -> dict[str, Unplaced]:
    """By key: the cells that are done, and whose examples no board judges."""
    question = "SELECT cell, n, fooled AS reached, still_right AS right FROM unplaced"
    return {one.cell: one for one in store.read(Unplaced, question)}


def incoming(store: Store) -> dict[tuple[str, str], Incoming]:
    """By board and target: the worst of others' examples; of equals the first by source, entrant and key."""
    worst = store.read(
        Incoming,
        """
        SELECT board, target, cell, source, entrant, fooled, n FROM (
          SELECT board, target, source, cell, entrant, fooled, n, row_number() OVER (
            PARTITION BY board, target ORDER BY 1.0 * fooled / n DESC, source_label, source, entrant, cell
          ) AS place
          FROM rates WHERE NOT own AND n > 0
        ) WHERE place = 1
        """,
    )
    return {(one.board, one.target): one for one in worst}
