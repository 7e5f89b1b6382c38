"""What stands beside an entry's rates: certificates, and verdicts that were refereed again."""

from __future__ import annotations

from dataclasses import dataclass

from advbench.store import Store, marks
from advbench.store.marks import Mark
from advbench_leaderboard.facts.rate import Rate


@dataclass(frozen=True)
class Import:
    """How a cell came into this database."""

    at: str
    source: str
    refereed: bool
    crafted: bool
    """Whether it was crafted again, and came out the same."""
    crafting: str
    """What came of that; empty where nobody tried."""


def certified(store: Store) -> dict[tuple[str, str], Rate]:
    """By board and target: examples right, and proved to stay so within the board's radius."""
    return {(row["board"], row["target"]): Rate(row["right"], row["n"]) for row in store.rates("certified")}


def verifications(store: Store) -> dict[str, Mark]:
    """By cell key: what `advbench verify` found last, where the facts are still those that it refereed."""
    return marks.marks(store)


def imported(store: Store) -> dict[str, Import]:
    """By cell key: the database that it came from by `advbench merge`, and what it was held against on arrival.

    A later merge may bring new verdicts on it. Its perturbations stay those that were crafted again once.
    """
    found: dict[str, Import] = {}
    for row in store.rows("SELECT c.key, i.* FROM imports i JOIN cells c ON c.id = i.cell ORDER BY i.id"):
        before = found.get(row["key"])
        crafted, crafting = bool(row["crafted"]), row["crafting"] or ""
        if before is not None and before.crafted:
            crafted, crafting = True, before.crafting
        found[row["key"]] = Import(row["at"], row["source"], bool(row["refereed"]), crafted, crafting)
    return found
