"""Any targets of a board side by side: every rate with its interval, and paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from advbench.rates.comparison import paired_interval
from advbench.rates.rates import SIGNIFICANT, binomial
from advbench_leaderboard.facts.boards import Board, Remark
from advbench_leaderboard.figures.dots import Series, dots
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

FOLDER = "compare"


@dataclass(frozen=True)
class Difference:
    """A's robust accuracy less B's, on the same examples."""

    value: float
    low: float
    high: float
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value < SIGNIFICANT


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
        "differences": differences(site, board),
        "notes": _notes(board),
    }


def _notes(board: Board) -> list[Remark]:
    """What is said of several targets is said once, of all of them."""
    targets: dict[Remark, list[str]] = {}
    for entry in board.entries:
        for note in entry.notes:
            targets.setdefault(note, []).append(entry.target.label)
    return [Remark(note.kind, f"{', '.join(labels)}: {note.reason}") for note, labels in targets.items()]


def differences(site: Site, board: Board) -> dict[tuple[str, str], Difference]:
    """Of every ordered pair of ranked targets."""
    right = site.right_bits(board.key)
    return _paired({entry.target.key: right[entry.target.key] for entry in board.ranked}, board.count)


def _paired(right: Mapping[str, int], n: int) -> dict[tuple[str, str], Difference]:
    """Each verdict is a bit."""
    found = {}
    keys = list(right)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            only_a, only_b = (right[a] & ~right[b]).bit_count(), (right[b] & ~right[a]).bit_count()
            low, high = paired_interval(only_b, only_a, n)
            p_value = binomial(min(only_a, only_b), only_a + only_b)
            value = (only_a - only_b) / n
            found[a, b] = Difference(value, low, high, p_value)
            found[b, a] = Difference(-value, -high, -low, p_value)
    return found
