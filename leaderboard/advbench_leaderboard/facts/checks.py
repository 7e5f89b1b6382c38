"""What stands beside an entry's rates: certificates, and verdicts that were refereed again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from advbench.store import Store, marks
from advbench.store.marks import Mark
from advbench_leaderboard.facts.rate import Rate


@dataclass(frozen=True)
class Import:
    """How a cell came into this database."""

    cell: str
    at: str
    source: str
    refereed: bool
    crafted: bool
    """Whether it was crafted again, and came out the same."""
    crafting: str
    """What came of that; empty where nobody tried."""


@dataclass(frozen=True)
class _Certified:
    board: str
    target: str
    right: int
    n: int


def certified(store: Store) -> dict[tuple[str, str], Rate]:
    """By board and target: examples right, and proved to stay so within the board's radius."""
    proved = store.read(_Certified, "SELECT board, target, right, n FROM certified")
    return {(one.board, one.target): Rate(one.right, one.n) for one in proved}


def verifications(store: Store) -> dict[str, Mark]:
    """By cell key: what `advbench verify` found last, where the facts are still those that it refereed."""
    return marks.marks(store)


def imported(store: Store) -> dict[str, Import]:
    """By cell key: the database that it came from by `advbench merge`, and what it was held against on arrival.

    A later merge may bring new verdicts on it. Its perturbations stay those that were crafted again once.
    """
    arrivals: dict[str, Import] = {}
    for one in store.read(
        Import,
        """
        SELECT c.key AS cell, i.at, i.source, i.refereed, coalesce(i.crafted, 0) AS crafted,
          coalesce(i.crafting, '') AS crafting
        FROM imports i JOIN cells c ON c.id = i.cell ORDER BY i.id
        """,
    ):
        before = arrivals.get(one.cell)
        if before is not None and before.crafted:
            one = replace(one, crafted=True, crafting=before.crafting)
        arrivals[one.cell] = one
    return arrivals
