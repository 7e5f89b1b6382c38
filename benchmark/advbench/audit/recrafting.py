"""Cells of an entry crafted again before it joins: nothing else tells weak perturbations under a strong name."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advbench.audit.reproduction import Reproduced, reproduce
from advbench.errors import AdvbenchError, TimeUpError, one_line
from advbench.plugins.registry import Registry
from advbench.run.run import Settings
from advbench.store import Store

UNASKED = 2
"""Cells of an entry that are crafted again where nobody says how many: the one that decides, and one by chance."""
UNASKED_PATIENCE = 60.0
"""Seconds of crafting that each of these may take; by this machine's clock, since passes are told by who ran them."""
TOLERATED = 0.01
"""Share of a cell's examples that another machine's rounding may turn."""


@dataclass(frozen=True)
class Recrafting:
    """How many cells of an entry are crafted again."""

    count: int = UNASKED
    patience: float = UNASKED_PATIENCE
    """Seconds of crafting for each."""


@dataclass(frozen=True)
class Crafted:
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
    cell: Mapping[str, Any],
    settings: Settings,
    patience: float,
    *,
    exact: bool,
) -> Crafted:
    """`exact` is whether its target answers the same again; else only what the cell says can be held against it."""
    try:
        found = reproduce(store, registry, cell, settings, timeout=patience)
    except TimeUpError as error:
        return Crafted(str(error))
    except Exception as error:
        words = str(error) if isinstance(error, AdvbenchError) else one_line(error)
        return Crafted(f"could not be crafted again: {words}", failed=True)
    turned = any(number.turned > TOLERATED * number.n for number in found.numbers)
    if turned and not exact and not found.contradictions:
        return Crafted(f"{_words(found)}; its target never answers twice the same, so nothing follows from that")
    differs = turned or bool(found.contradictions)
    return Crafted(_words(found), same=not differs, differs=differs)


def _words(found: Reproduced) -> str:
    counts = dict.fromkeys(
        f"fools {number.again} of {number.n}, {number.stored} as stored, {number.turned} of them others"
        if number.turned
        else f"fools {number.again} of {number.n}, the same as stored"
        for number in found.numbers
    )
    return "; ".join([*found.contradictions, *counts])


def in_order(store: Store, cells: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """First the cell that leaves least of each target, as told; then the others, so that nobody knows beforehand.

    Whoever makes an attack look weaker than another can't foresee that the others are left alone.
    """
    by_target: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    left = {cell["key"]: _left(store, cell) for cell in cells}
    for cell in sorted(cells, key=lambda cell: (left[cell["key"]], cell["key"])):
        by_target[cell["source"]].append(cell)
    deciding = sorted((found[0] for found in by_target.values()), key=lambda cell: left[cell["key"]])
    others = [cell for found in by_target.values() for cell in found[1:]]
    random.SystemRandom().shuffle(others)
    first, rest = deciding[:1], deciding[1:]
    chance = others[:1]
    yield from [*first, *chance, *rest, *others[1:]]


def _left(store: Store, cell: Mapping[str, Any]) -> float:
    """The share of its own target's answers that stay right, as its rows tell; at the smallest radius asked there."""
    (row,) = store.rows(
        """
        SELECT count(*) AS n, count(*) FILTER (
          WHERE c.predicted = c.label AND NOT (
            o.predicted <> c.label AND o.violation IS NULL AND (? IS NULL OR o.size <= ?)
          )
        ) AS left
        FROM outcomes o JOIN targets t ON t.id = o.target AND t.key = ?
        LEFT JOIN clean c ON c.target = o.target AND c.example = o.example WHERE o.cell = ?
        """,
        *(2 * [_radius(store, cell)]),
        cell["source"],
        cell["id"],
    )
    return row["left"] / row["n"] if row["n"] else 1.0


def _radius(store: Store, cell: Mapping[str, Any]) -> float | None:
    """Of the smallest board of its family, for a cell that searched the unbounded ball."""
    if not cell["minimizes"]:
        return None
    sql = "SELECT min(eps) AS eps FROM boards WHERE data_fingerprint = ? AND family = ?"
    found: float | None = store.rows(sql, cell["data_fingerprint"], cell["family"])[0]["eps"]
    return found
