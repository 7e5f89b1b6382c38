"""What is measured, the boards with their best entries, how fresh it is, and what changed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from advbench_leaderboard.facts.studies import highest
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

NAVIGATION = ("index.html", "Leaderboard")


def pages(site: Site) -> Iterator[Page]:
    yield Page("index.html", "home.html.j2", partial(_context, site))


def _context(site: Site) -> dict[str, object]:
    updated = max((board.updated for board in site.boards if board.updated), default=None)
    papers = [study for study, _ in highest(site.studies)]
    return {
        "updated": updated,
        "examples": sum({(b.dataset.fingerprint, b.examples): b.count for b in site.boards}.values()),
        "cells": sum(cell.status == "done" for cell in site.cells.values()),
        "papers": len(papers),
        "published": sum(len(study.numbers) for study in papers),
        "judged": sum(len(study.claims) for study in papers),
        "failed": sum(len(board.failed) for board in site.boards),
    }
