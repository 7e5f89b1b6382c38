"""What a database knows of one cell: how it ended and came here, what it took, and whom it fooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advbench.store import Store
from advbench.store.rows import CellRow, EventRow, ImportRow, ShardRow


@dataclass(frozen=True)
class Fooled:
    """How often one cell fools a target on one board: its own target, or another that judged it, too."""

    board_name: str
    target_label: str
    own: bool
    fooled: int
    n: int
    violations: int


@dataclass(frozen=True)
class Superseded:
    """A board that counts the cell no more, since the same network stands there as another target, `label`."""

    board: str
    label: str


@dataclass(frozen=True)
class Unplaced:
    """How often a cell fooled its own target, where no board judges its examples."""

    source_label: str
    rate: float | None
    n: int


@dataclass(frozen=True)
class Story:
    cell: CellRow
    drawn: int | None
    """The seed by which its examples were drawn; None for the first ones."""
    status: str | None
    events: Sequence[EventRow]
    shards: Sequence[ShardRow]
    rates: Sequence[Fooled]
    superseded: Sequence[Superseded]
    unplaced: Sequence[Unplaced]
    imports: Sequence[ImportRow]


_RATES = """
SELECT board_name, target_label, own, fooled, n, violations FROM rates WHERE cell = ?
ORDER BY board, target_label, target
"""
_SUPERSEDED = """
SELECT b.name AS board, t.label || ' ' || substr(t.key, 1, 12) AS label FROM board_cells c
JOIN board_targets p ON p.board = c.board AND p.target = c.source
JOIN targets t ON t.key = p.standing JOIN boards b ON b.key = c.board
WHERE c.cell = ? AND NOT p.current ORDER BY b.name, b.key
"""


def story(store: Store, cell: CellRow) -> Story:
    key = cell.key
    return Story(
        cell,
        store.draws().get(cell.examples),
        store.cell_status(key),
        store.events(key),
        list(store.shards(key).values()),
        store.read(Fooled, _RATES, key),
        store.read(Superseded, _SUPERSEDED, key),
        store.read(Unplaced, "SELECT source_label, rate, n FROM unplaced WHERE cell = ?", key),
        store.imports(key),
    )
