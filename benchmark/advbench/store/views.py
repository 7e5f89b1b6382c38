"""The rates, as SQL views over the facts; any SQLite shell with math functions can read them.

Each view is dropped and made again whenever its text here differs from the database's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from advbench.store import outcome_views, rate_views, standing_views, worst_views

if TYPE_CHECKING:
    import sqlite3

VIEWS = {
    "cell_state": standing_views.CELL_STATE,
    "lineages": standing_views.LINEAGES,
    "board_targets": standing_views.BOARD_TARGETS,
    "board_cells": standing_views.BOARD_CELLS,
    "judged_outcomes": outcome_views.JUDGED_OUTCOMES,
    "rates": rate_views.RATES,
    "fooling": rate_views.FOOLING,
    "transfer": rate_views.TRANSFER,
    "sizes": rate_views.SIZES,
    "attack_accuracy": rate_views.ATTACK_ACCURACY,
    "answered": rate_views.ANSWERED,
    "clean_accuracy": rate_views.CLEAN_ACCURACY,
    "undetected": rate_views.UNDETECTED,
    "sweeps": worst_views.SWEEPS,
    "certified": worst_views.CERTIFIED,
    "required_cells": worst_views.REQUIRED_CELLS,
    "worst_examples": worst_views.WORST_EXAMPLES,
    "robust_examples": worst_views.ROBUST_EXAMPLES,
    "worst_cases": worst_views.WORST_CASES,
    "robust_accuracy": worst_views.ROBUST_ACCURACY,
    "earlier": worst_views.EARLIER,
    "elsewhere": worst_views.ELSEWHERE,
    "unplaced": worst_views.UNPLACED,
}
"""All views by name, in an order in which each needs only those before it."""

TALLIED = frozenset({"board_targets", "rates", "answered", "required_cells", "worst_examples", "elsewhere"})
"""The ones that read every outcome or are read by many others."""


def current(connection: sqlite3.Connection) -> bool:
    """Whether the views in the database are those defined here, text for text."""
    return _views_stored(connection) == {name: _text(name) for name in VIEWS}


def refresh(connection: sqlite3.Connection, *, temporary: bool = False) -> None:
    """Make the views anew where they differ; temporary ones are seen by this connection alone and hide the others."""
    if temporary:
        for name in VIEWS:
            connection.execute(f"CREATE TEMP VIEW {name} AS\n{VIEWS[name].strip()}")
    elif not current(connection):
        drop(connection)
        for name in VIEWS:
            connection.execute(_text(name))


def tally(connection: sqlite3.Connection) -> None:
    """Work the rates out once for all of them: tables and views of this connection, until its transaction ends."""
    for name, sql in VIEWS.items():
        connection.execute(f"DROP VIEW IF EXISTS temp.{name}")
        kind = "TABLE" if name in TALLIED else "VIEW"
        connection.execute(f"CREATE TEMP {kind} {name} AS\n{sql.strip()}")


def drop(connection: sqlite3.Connection) -> None:
    for name in _views_stored(connection):
        connection.execute(f'DROP VIEW "{name}"')


def _text(name: str) -> str:
    return f"CREATE VIEW {name} AS\n{VIEWS[name].strip()}"


def _views_stored(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM main.sqlite_schema WHERE type = 'view'")
    return {row[0]: row[1] for row in rows}
