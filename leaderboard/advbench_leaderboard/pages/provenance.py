"""Runs, versions, plugins, hardware, seeds; and the command that makes each number again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from advbench_leaderboard.facts.runs import Plugin
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site
from advbench_leaderboard.text import shown

NAVIGATION = ("provenance.html", "Provenance")
LIMIT = 50
"""Runs in full on the page; the others are in the download that it names."""
PLUGIN_LIMIT = 1000
DIFFERING = 100
"""Cells on the page that came out differently when they were refereed again; the others are in the download."""


@dataclass(frozen=True)
class Used:
    """A plugin as it took part: the same source in several runs is one row."""

    plugin: Plugin
    runs: int


@dataclass(frozen=True)
class Merged:
    """A database that cells came from."""

    source: str
    cells: int
    refereed: int
    crafted: int
    at: str


def pages(site: Site) -> Iterator[Page]:
    yield Page("provenance.html", "provenance.html.j2", partial(_context, site))


def _context(site: Site) -> dict[str, object]:
    database = shlex.quote(shown(site.database))
    differing = sorted(key for key, mark in site.marks.items() if not mark.sound)
    used = _used(site.plugins)
    return {
        "has": {
            "source": any(dataset.source for dataset in site.datasets.values()),
            "digest": any(one.plugin.digest for one in used),
        },
        "checked": len(site.marks) - len(differing),
        "differing": [(site.cells[key], site.marks[key]) for key in differing[:DIFFERING]],
        "more_differing": len(differing[DIFFERING:]),
        "merged": _merged(site),
        "mixed": [board for board in site.boards if board.mixed],
        "used": used,
        "database": database,
        "limit": LIMIT,
        "plugin_limit": PLUGIN_LIMIT,
    }


def _merged(site: Site) -> list[Merged]:
    databases = []
    for source in sorted({one.source for one in site.imports.values()}):
        of = [one for one in site.imports.values() if one.source == source]
        refereed, crafted = sum(one.refereed for one in of), sum(one.crafted for one in of)
        databases.append(Merged(source, len(of), refereed, crafted, max(one.at for one in of)))
    return databases


def _used(plugins: Iterable[Plugin]) -> list[Used]:
    runs = Counter(replace(plugin, run="") for plugin in plugins if not plugin.error)
    order = sorted(runs, key=lambda p: (p.kind, p.label, p.distribution, p.version, p.digest))
    return [Used(plugin, runs[plugin]) for plugin in order]
