"""Cells of an entry crafted again before it joins: nothing else tells weak perturbations under a strong name.

Which ones, nobody who hands in an entry can settle: honest cells in another ball, on another target or beside those
that a board requires, however many, draw no lot of those that rank.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from advbench.audit.agreement import UNLIKELY
from advbench.audit.reproduction import Number, Reproduced, reproduce
from advbench.errors import TimeUpError, one_line
from advbench.plugins.origin import identity
from advbench.plugins.registry import Registry
from advbench.rates.aim import entrant
from advbench.rates.uncertainty import binomial
from advbench.run.session import Settings
from advbench.store import Store
from advbench.store.outcome_views import largest
from advbench.store.rows import BallRow, BoardRow, CellRow

UNASKED_PATIENCE = 60.0
"""Seconds of crafting that each of them may take; by this machine's clock, since passes are told by who ran them."""
LONGEST = 1800.0
"""Seconds after which no more is drawn: an entry may hold thousands of cells that take a minute each."""
TOLERATED = 0.01
"""Share of a cell's examples that another machine's rounding may turn."""


@dataclass(frozen=True)
class Recrafting:
    """How many cells of an entry are crafted again."""

    count: int | None = None
    """None for two of every target on every board: the one that decides there, and one by chance."""
    patience: float = UNASKED_PATIENCE
    """Seconds of crafting for each."""
    longest: float = LONGEST
    """Seconds for all of an entry, where nobody says how many."""


@dataclass(frozen=True)
class Recrafted:
    """What became of a cell when it was crafted again."""

    words: str
    same: bool = False
    """It came out as it is stored, but for what another machine's rounding turns."""
    differs: bool = False
    """So far from what is stored that nothing of its database is to be believed."""
    failed: bool = False
    """It could not be crafted at all."""


def craft_again(
    store: Store,
    registry: Registry,
    cell: CellRow,
    settings: Settings,
    patience: float,
    *,
    exact: bool,
) -> Recrafted:
    """`exact` is whether its target answers the same again; else only what the cell says can be held against it."""
    try:
        reproduced = reproduce(store, registry, cell, settings, timeout=patience)
    except TimeUpError as error:
        return Recrafted(str(error))
    except Exception as error:
        words = one_line(error)
        return Recrafted(f"could not be crafted again: {words}", failed=True)
    turned = any(number.turned > TOLERATED * number.n for number in reproduced.numbers)
    if turned and not exact and not reproduced.contradictions and not any(map(_is_lopsided, reproduced.numbers)):
        return Recrafted(f"{_words(reproduced)}; its target never answers twice the same, so nothing follows from that")
    differs = turned or bool(reproduced.contradictions)
    return Recrafted(_words(reproduced), same=not differs, differs=differs)


def _is_lopsided(number: Number) -> bool:
    """Whether those that turned did so in one direction, as chance alone would hardly ever have it."""
    fewer = (number.turned - abs(number.again - number.stored)) // 2
    return binomial(fewer, number.turned) < UNLIKELY


def _words(reproduced: Reproduced) -> str:
    counts = dict.fromkeys(
        f"fools {number.again} of {number.n}, {number.stored} as stored, {number.turned} of them others"
        if number.turned
        else f"fools {number.again} of {number.n}, the same as stored"
        for number in reproduced.numbers
    )
    return "; ".join([*reproduced.contradictions, *counts])


@dataclass(frozen=True)
class Lot:
    """Cells of which one is crafted again: the first that holds."""

    cells: Sequence[CellRow]
    deciding: bool = False
    """Whether to take the cell that leaves the fewest examples right instead of one by chance;
    none where it is drawn already."""


def lots(
    store: Store, cells: Sequence[CellRow], boards: Sequence[BoardRow], here: Collection[str], *, everything: bool
) -> Iterator[Lot]:
    """For every target and every board that ranks it, of the cells that the board requires the one that leaves least,
    as told; then, for each again, one by chance.

    `here` are the keys of the host's own boards. What stands on no board makes a lot of its own for each target. For
    who wants `everything`, all the rest follow.
    """
    groups: dict[tuple[str, str], list[tuple[float, CellRow]]] = defaultdict(list)
    for cell in cells:
        requiring = [board for board in boards if requires(board, cell)]
        for board in requiring:
            groups[cell.source, board.key].append((_left(store, cell, board.eps), cell))
        if not requiring:
            groups[cell.source, ""].append((_left(store, cell, None), cell))
    chance = random.SystemRandom()
    for wanted in (True, False):  # the host's own boards first: nobody who hands something in has chosen them
        cells_by_board = [
            [cell for _, cell in sorted(group, key=lambda one: (one[0], one[1].key))]
            for (_, board), group in groups.items()
            if (board in here) == wanted
        ]
        chance.shuffle(cells_by_board)
        yield from (Lot(group, deciding=True) for group in cells_by_board)
        yield from (Lot(chance.sample(group, len(group))) for group in cells_by_board)
    if everything:
        yield from (Lot([cell]) for cell in chance.sample(list(cells), len(cells)))


def requires(board: BoardRow, cell: CellRow) -> bool:
    """Whether the cell counts in the board's robust accuracy; as the view `board_cells` has it, of which none is asked.

    A stranger's database may have any views.
    """
    named = entrant(cell.attack, cell.goal, stop=cell.stop, budget=cell.budget, fit=cell.fit, precision=cell.precision)
    return (
        cell.place == board.place
        and (cell.eps == board.eps or (cell.eps is None and bool(cell.minimizes)))
        and board.seed in (None, cell.seed)
        and _shipper_identity(cell) == _shipper_identity(board)
        and named in board.required
    )


def _shipper_identity(row: BallRow) -> dict[str, Any] | None:
    """What a key takes in of who shipped the ball; None for the core's own."""
    return identity(row.ball) if row.ball else None


@dataclass(frozen=True)
class _Left:
    n: int
    left: int


def _left(store: Store, cell: CellRow, radius: float | None) -> float:
    """The share of its own target's answers that stay right at that radius, as its rows tell."""
    limit = largest(radius) if cell.minimizes and radius is not None else None
    (row,) = store.read(
        _Left,
        """
        SELECT count(*) AS n, count(*) FILTER (
          WHERE c.predicted = c.label AND NOT (
            o.predicted <> c.label AND o.violation IS NULL AND (? IS NULL OR o.size <= ?)
          )
        ) AS left
        FROM outcomes o JOIN targets t ON t.id = o.target AND t.key = ?
        LEFT JOIN clean c ON c.target = o.target AND c.example = o.example
        WHERE o.cell = (SELECT id FROM cells WHERE key = ?)
        """,
        limit,
        limit,
        cell.source,
        cell.key,
    )
    return row.left / row.n if row.n else 1.0
