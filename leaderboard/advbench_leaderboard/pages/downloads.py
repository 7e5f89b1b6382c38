"""The database, its tables as CSV and JSON, and a badge an entry."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from advbench_leaderboard import badge
from advbench_leaderboard.pages import Page, Raw
from advbench_leaderboard.site import Site
from advbench_leaderboard.tables import TABLES
from advbench_leaderboard.tables.form import SCHEMA, csv_of, json_of

NAVIGATION = ("downloads.html", "Downloads")
LIMIT = 300
"""Badges that the page shows; all of them are made."""


def pages(site: Site) -> Iterator[Page | Raw]:
    made = []
    for table in TABLES:
        rows = table.rows(site)
        files = [
            Raw(f"data/{table.name}.csv", csv_of(table, rows)),
            Raw(f"data/{table.name}.json", json_of(table, rows)),
        ]
        made.append((table, len(rows), [(raw.path, len(raw.data)) for raw in files]))
        yield from files
    badges = []
    for board in site.boards:
        for entry in board.ranked:
            path = site.badge_file(board.key, entry.target.key)
            badges.append((board, entry, path))
            yield Raw(path, badge.badge(board, entry).encode())
    yield Page(
        "downloads.html",
        "downloads.html.j2",
        partial(dict, tables=made, badges=badges, schema=SCHEMA, limit=LIMIT, database=site.download),
    )
