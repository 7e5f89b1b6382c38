"""The command that makes a number again, or looks behind it; quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from advbench_leaderboard.facts.boards import Board
from advbench_leaderboard.facts.cells import Cell
from advbench_leaderboard.text import shown


def verify_cell(cell: Cell, database: str) -> str:
    """What referees the stored perturbations of a cell once more."""
    return _line("advbench", "verify", cell.key[:12], "--db", database)


def reproduce_cell(cell: Cell, database: str) -> str:
    """What crafts a cell again, with all that the database says of it."""
    return _line("advbench", "reproduce", cell.key[:12], "--db", database)


def reproduce_cells(cells: Iterable[Cell], database: str) -> str:
    """What crafts all cells again that an entry was counted from."""
    return _line("advbench", "reproduce", *(cell.key[:12] for cell in cells), "--db", database)


def reproduce_transfer(cell: Cell, targets: Iterable[str], database: str) -> str:
    """What crafts a cell again and judges it on other targets, too."""
    on = (word for key in dict.fromkeys(targets) for word in ("--on", key[:12]))
    return _line("advbench", "reproduce", cell.key[:12], *on, "--db", database)


def show_cell(cell: Cell, database: str) -> str:
    return _line("advbench", "show", cell.key[:12], "--db", database)


def show_board(board: Board, database: str) -> str:
    return _line("advbench", "show", "--board", board.name, "--db", database)


def perform_study(name: str, level: str, database: str) -> str:
    """What performs a study, as far as the database lacks it, and judges its claims."""
    return _line("advbench", "study", name, "--level", level, "--db", database)


def _line(*words: str) -> str:
    return shlex.join(shown(word) for word in words)
