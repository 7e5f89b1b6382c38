"""What stands beside an entry's rates: certificates, and verdicts that were refereed again."""

from __future__ import annotations

from advbench.store import Store
from advbench_leaderboard.facts.rate import Rate


def certified(store: Store) -> dict[tuple[str, str], Rate]:
    """By board and target: examples right, and proved to stay so within the board's radius."""
    return {(row["board"], row["target"]): Rate(row["right"], row["n"]) for row in store.rates("certified")}


def verified(store: Store) -> dict[str, bool]:
    """By cell key: what the newest row of `verifications (cell, at, sound)` says; `cell` is the number in `cells`.

    `advbench verify` only reads today; a database has this table where somebody keeps what it found.
    """
    columns = {row["name"] for row in store.rows("SELECT name FROM pragma_table_info('verifications')")}
    if not columns >= {"cell", "at", "sound"}:
        return {}
    rows = store.rows("SELECT c.key, v.sound FROM verifications v JOIN cells c ON c.id = v.cell ORDER BY v.at, v.rowid")
    return {row["key"]: bool(row["sound"]) for row in rows}
