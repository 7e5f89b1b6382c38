"""Any targets of a board side by side: every rate with its interval, and paired differences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from advbench_leaderboard.facts.boards import Board, Remark
from advbench_leaderboard.figures.dots import Series, dots
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

FOLDER = "compare"


def pages(site: Site) -> Iterator[Page]:
    for board in site.boards:
        if board.entries:
            yield Page(site.compare_file(board.key), "compare.html.j2", partial(_context, site, board))


def _context(site: Site, board: Board) -> dict[str, object]:
    robust = ["Robust, all required attacks"] if board.ranked else []
    rows = ["Clean", *robust, *board.entrants]
    series = [
        Series(
            entry.target.key[:12],
            entry.target.label,
            [
                entry.clean,
                *([entry.robust] if robust else []),
                *(entry.verdicts[e].accuracy if e in entry.verdicts else None for e in board.entrants),
            ],
        )
        for entry in board.entries
    ]
    figure = dots(
        f"Accuracy of targets on {board.title}, clean and under each attack",
        f"{len(rows)} rows, one for clean images, one for the worst case and one for every attack; "
        "a mark a target, with its 95 % interval.",
        rows,
        series,
        x_title="Accuracy, %",
        y_title="Under",
    )
    return {
        "board": board,
        "figure": figure,
        "rows": rows,
        "series": series,
        "differences": site.differences(board),
        "notes": _notes(board),
    }


def _notes(board: Board) -> list[Remark]:
    """The notes of a board; one that several targets have stands once, with the names of all of them."""
    targets: dict[Remark, list[str]] = {}
    for entry in board.entries:
        for note in entry.notes:
            targets.setdefault(note, []).append(entry.target.label)
    return [Remark(note.kind, f"{', '.join(labels)}: {note.reason}") for note, labels in targets.items()]
