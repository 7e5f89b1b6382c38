"""Every pair that did not run, with the reason: nothing disappears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from advbench_leaderboard.facts.skips import Skip
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

NAVIGATION = ("failures.html", "Failures and skips")
LIMIT = 500
"""Failed cells, and groups of skipped pairs, on the page; the others are in the download that it names."""


@dataclass(frozen=True)
class Skipped:
    """Pairs of one attack that were left out for one reason."""

    dataset: str
    attack: str
    reason: str
    balls: tuple[str, ...]
    targets: tuple[str, ...]


def pages(site: Site) -> Iterator[Page]:
    yield Page("failures.html", "failures.html.j2", partial(_context, site))


def _context(site: Site) -> dict[str, object]:
    failed = [cell for cell in site.cells.values() if cell.latest and cell.status != "done"]
    failed.sort(key=lambda cell: (site.targets[cell.source].label, cell.entrant, cell.threat, cell.key))
    broken = {(p.label, p.distribution, p.version, p.error) for p in site.plugins if p.error}
    return {"failed": failed, "skipped": together(site.skips), "broken": sorted(broken), "limit": LIMIT}


def together(skips: Iterable[Skip]) -> list[Skipped]:
    """Targets with the same attack, ball and reason, then balls with the same targets: no pair is added or lost."""
    targets: dict[tuple[str, str, str, str], list[str]] = {}
    for skip in skips:
        targets.setdefault((skip.dataset, skip.attack, skip.reason, skip.threat), []).append(skip.target)
    balls: dict[tuple[str, str, str, tuple[str, ...], bool], list[str]] = {}
    for (dataset, attack, reason, ball), labels in targets.items():
        places = balls.setdefault((dataset, attack, reason, tuple(sorted(set(labels))), not ball), [])
        places += [ball] if ball else []
    return [
        Skipped(dataset, attack, reason, tuple(places), labels)
        for (dataset, attack, reason, labels, _), places in sorted(balls.items())
    ]
