"""Across threats: every target in all balls side by side, and which of them it was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from advbench.rates.drawn import drawn_by
from advbench_leaderboard.facts.boards import Board, Entry
from advbench_leaderboard.facts.entrants import Dataset, Target
from advbench_leaderboard.figures.dots import Series, dots
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

NAVIGATION = ("threats.html", "Across threats")


@dataclass(frozen=True)
class Row:
    target: Target
    entries: Mapping[str, Entry]
    """By board key."""
    trained: tuple[str, ...]
    """Balls that its defenses were trained in, as their parameters write them."""
    boards: Mapping[str, Board]

    def trained_in(self, board: Board) -> bool:
        """In a ball of the same kind, whatever the radius."""
        return _kind(board.threat) in {_kind(ball) for ball in self.trained}

    def least(self, trained: bool) -> float | None:
        """The lowest robust accuracy of the balls that it was trained in, or of the others."""
        return min(
            (
                e.robust.value
                for board, e in ((self.boards[key], e) for key, e in self.entries.items())
                if e.robust and self.trained_in(board) == trained
            ),
            default=None,
        )


@dataclass(frozen=True)
class Side:
    """The targets and boards of one data set."""

    dataset: Dataset
    boards: tuple[Board, ...]
    rows: tuple[Row, ...]
    series: tuple[Series, ...]
    figure: Markup
    words: Mapping[str, str]
    """What heads a board's column, by key."""

    @property
    def trained(self) -> bool:
        return any(row.trained for row in self.rows)

    @property
    def least(self) -> list[tuple[bool, str]]:
        """The two columns of lowest accuracies, where they say anything of any target."""
        both = ((True, "Least where trained"), (False, "Least elsewhere"))
        return [(kind, words) for kind, words in both if any(row.least(kind) is not None for row in self.rows)]


def pages(site: Site) -> Iterator[Page]:
    yield Page("threats.html", "threats.html.j2", lambda: {"sides": [_side(b) for b in _by_dataset(site).values()]})


def balls(target: Target) -> tuple[str, ...]:
    """What the parameters of its defenses call `threat`."""
    defenses = target.params.get("defenses")
    named = [one.get("threat") for one in defenses if isinstance(one, Mapping)] if isinstance(defenses, list) else []
    return tuple(sorted({ball for ball in named if isinstance(ball, str)}))


def _kind(ball: str) -> str:
    return ball.partition("(")[0]


def _by_dataset(site: Site) -> dict[str, list[Board]]:
    boards: dict[str, list[Board]] = {}
    for board in site.boards:
        if board.entries:
            boards.setdefault(board.dataset.fingerprint, []).append(board)
    return boards


def _side(boards: list[Board]) -> Side:
    dataset = boards[0].dataset
    entries: dict[str, dict[str, Entry]] = {}
    targets: dict[str, Target] = {}
    for board in boards:
        for entry in board.entries:
            targets[entry.target.key] = entry.target
            entries.setdefault(entry.target.key, {})[board.key] = entry
    order = sorted(targets, key=lambda key: (targets[key].label, key))
    by_key = {board.key: board for board in boards}
    boards = [board for board in boards if board.ranked]  # the columns of others would be empty
    series = [
        Series(key[:12], targets[key].label, [e.robust if (e := entries[key].get(b.key)) else None for b in boards])
        for key in order
    ]
    words = _heads(boards)
    figure = dots(
        f"Robust accuracy of targets on {dataset.label}, ball by ball",
        f"{len(boards)} rows, one a ball; a mark a target, with its 95 % interval. Marks of one target far apart: "
        "it is robust only in some of the balls.",
        [words[board.key] for board in boards],
        series,
        x_title="Robust accuracy, %",
        y_title="Ball",
    )
    rows = tuple(Row(targets[key], entries[key], balls(targets[key]), by_key) for key in order)
    return Side(dataset, tuple(boards), rows, tuple(series), figure, words)


def _heads(boards: list[Board]) -> dict[str, str]:
    """What heads the column of each board: its ball, with its examples where two boards have the same."""
    crowd = Counter(board.aimed_ball for board in boards)

    def head(board: Board) -> str:
        examples = f", {board.count} examples{drawn_by(board.drawn)}" if crowd[board.aimed_ball] > 1 else ""
        return f"{board.aimed_ball}{examples}"

    return {board.key: head(board) for board in boards}
