"""One board: who stays right in this ball."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from advbench_leaderboard.facts.boards import Board
from advbench_leaderboard.figures.curves import radii, radius_curves
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

FOLDER = "boards"
DENSE = 16
"""With more attacks than these their columns show no intervals: they would be hard to read, and slow to sort."""
ON_PAPER = 40
"""How many attacks are printed; the largest sheet holds no more."""


def pages(site: Site) -> Iterator[Page]:
    for board in site.boards:
        yield Page(site.board_file(board.key), "board.html.j2", partial(_context, site, board))


def _context(site: Site, board: Board) -> dict[str, object]:
    curves = site.curves(board)
    detectors = sum(1 for entry in board.entries if entry.false_positives)
    return {
        "board": board,
        "curves": curves,
        "figure": radius_curves(curves, board.eps, board.ball) if curves else None,
        "radii": radii(curves, board.eps) if curves else [],
        # where few targets have one, its columns would stand empty between the attacks and the numbers they explain
        "detectors": "" if not detectors else "first" if 2 * detectors >= len(board.entries) else "last",
        "has": {
            "incoming": any(entry.incoming for entry in board.entries),
            "certified": any(entry.certified for entry in board.entries),
        },
        "notes": sum(len(entry.notes) for entry in board.entries),
        "compared": len(board.ranked) > 1,
        "dense": len(board.entrants) > DENSE,
        "on_paper": ON_PAPER,
    }
