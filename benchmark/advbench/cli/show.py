"""`advbench show`: the rates of a database in the terminal, and of one cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import AdvbenchError, did_you_mean, printable
from advbench.rates import detection
from advbench.rates.story import story
from advbench.rates.uncertainty import undetected_at
from advbench.store import Store, parts
from advbench.store.rows import listed
from advbench.terminal.cells import board_of, cell_table
from advbench.terminal.tables import names, new_table, numbers, print_boards, show_table
from advbench.terminal.text import percent, say, terminal

ALARMS = (0.01, 0.05, 0.1, 0.2)
"""Shares of clean images at which `--detectors` reads the curve."""


def show(
    cell: Annotated[
        str | None, typer.Argument(metavar="[CELL]", help="The beginning of a cell's key, for that cell alone.")
    ] = None,
    db: opt.Database = opt.DATABASE,
    board: opt.Boards = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its key and how it ended.")] = False,
    sweeps: Annotated[
        bool,
        typer.Option("--sweeps", help="For each attack with several parameters: the best of them, and all together."),
    ] = False,
    detectors: Annotated[
        bool,
        typer.Option("--detectors", help="How many successes go undetected, by the share of false alarms accepted."),
    ] = False,
) -> None:
    """Show the boards of a database, its cells, or one cell."""
    console = terminal()
    with Store.open(db, readonly=True) as store:
        if cell is not None:
            console.print(cell_table(story(store, store.cell(cell)), store.boards()))
            return
        refuse_unknown(board, store, db)
        if cells:
            _print_cells(console, store, board)
        elif sweeps:
            _print_sweeps(console, store, board)
        elif detectors:
            _print_detectors(console, store, board)
        elif not print_boards(console, store, board):
            say(console, "No boards yet; `advbench run` makes some.")
        for line in parts.said(store):
            say(console, line)


def refuse_unknown(names: Iterable[str] | None, store: Store, db: Path) -> None:
    """A board that is not there would else look like one without results."""
    known = {board.name for board in store.boards()}
    if missing := set(names or ()) - known:
        name = min(missing)
        there = ", ".join(sorted(known)) or "none"
        raise AdvbenchError(f"no board {name!r} in {db}; there are: {there}{did_you_mean(name, known)}")


@dataclass(frozen=True)
class _Sweep:
    """An attack with several parameters: the best of them, and all together; `undetected` only of a detector."""

    board_name: str
    target_label: str
    name: str
    goal: str
    entrants: int
    n: int
    best: str
    best_fooled: int
    best_hidden: str
    best_undetected: int | None
    rate: float | None
    undetected: int | None
    undetected_rate: float | None


@dataclass(frozen=True)
class _Detected:
    """An attack on a detector."""

    board: str
    board_name: str
    cell: str
    target: str
    target_label: str
    entrant: str
    stop: str
    fooled: int
    n: int


@dataclass(frozen=True)
class _Rate:
    cell: str
    board_name: str
    rate: float | None


@dataclass(frozen=True)
class _Served:
    cell: str
    board_name: str
    stands: bool


@dataclass(frozen=True)
class _Listed:
    """A cell, how it ended, and whether it is the one that counts of those that differ only in version."""

    key: str
    label: str
    dataset: str
    threat: str
    family: str
    params: Mapping[str, Any] | None
    eps: float | None
    entrant: str
    status: str
    reason: str | None
    current: bool
    count: int


def _print_sweeps(console: Console, store: Store, boards: list[str] | None) -> None:
    """What the papers call the best parameter, and the pointwise worst over all of them beside it."""
    rows = store.read(_Sweep, f"SELECT {listed(_Sweep)} FROM sweeps")
    rows = [row for row in rows if not boards or row.board_name in boards]
    if not rows:
        say(console, "No attack was run with several parameters.")
        return
    table = new_table()
    names(table, "board", (row.board_name for row in rows))
    names(table, "target", (row.target_label for row in rows))
    table.add_column("attack", overflow="fold")
    for heading in ("tried", "fooled by one", "by any", "undetected, one", "any"):
        numbers(table, heading)
    table.add_column("the best one", overflow="fold")
    for row in sorted(rows, key=lambda row: (row.board_name, row.target_label, row.name, row.goal)):
        table.add_row(
            printable(row.board_name),
            printable(row.target_label),
            printable(row.name if row.goal == "untargeted" else f"{row.name} → {row.goal}"),
            str(row.entrants),
            percent(row.best_fooled / row.n),
            percent(row.rate),
            "" if row.best_undetected is None else percent(row.best_undetected / row.n),
            "" if row.undetected is None else percent(row.undetected_rate),
            printable(row.best if row.undetected is None else row.best_hidden),
        )
    console.print(table)


def _print_detectors(console: Console, store: Store, boards: list[str] | None) -> None:
    """Undetected against false positives, at a few places of the curve."""
    with store.tallied():
        rows = store.read(_Detected, f"SELECT {listed(_Detected)} FROM rates WHERE own AND undetected IS NOT NULL")
        rows = [row for row in rows if not boards or row.board_name in boards]
        curves = [detection.curve(store, row.board, row.cell, row.target) for row in rows]
    if not rows:
        say(console, "No detector was attacked.")
        return
    table = new_table()
    names(table, "board", (row.board_name for row in rows))
    names(table, "target", (row.target_label for row in rows))
    table.add_column("attack", overflow="fold")
    for heading in ("fooled", *(f"{share:.0%} alarms" for share in ALARMS)):
        numbers(table, heading)
    lines = []
    for row, curve in zip(rows, curves, strict=True):
        words = [printable(name) for name in (row.board_name, row.target_label, row.entrant)]
        shares = [row.fooled / row.n, *(undetected_at(curve, share).undetected for share in ALARMS)]
        lines.append([*words, *map(percent, shares)])
    for line in sorted(lines):
        table.add_row(*map(Text, line))
    remarks = ["Percent fooled, then undetected where at most so many clean images raise an alarm."]
    if any(row.stop == "first" for row in rows):
        remarks.append("Attacked with `stop: first`, which suits the threshold that was set; `stop: end` is fair.")
    show_table(console, table, remarks=remarks)


def _print_cells(console: Console, store: Store, boards: list[str] | None) -> None:
    """A row for every cell and board that it serves: its key's beginning, and how often it fooled its source there.

    A cell without a radius serves several boards, each with another rate.
    """
    fooling = store.read(_Rate, f"SELECT {listed(_Rate)} FROM fooling")
    shares: dict[tuple[str, str | None], float | None] = {(row.cell, row.board_name): row.rate for row in fooling}
    unplaced = {row.cell: row.rate for row in store.read(_Rate, "SELECT cell, '' AS board_name, rate FROM unplaced")}
    served: dict[str, list[str | None]] = {}
    earlier: set[tuple[str, str | None]] = set()
    for place in store.read(
        _Served, "SELECT DISTINCT cell, board_name, stands FROM board_cells JOIN boards ON key = board ORDER BY eps"
    ):
        served.setdefault(place.cell, []).append(place.board_name)
        earlier |= set() if place.stands else {(place.cell, place.board_name)}
    rows = [
        (row, board)
        for row in store.read(
            _Listed,
            "SELECT c.key, t.label, c.dataset, c.threat, c.family, c.params, c.eps, s.entrant, s.status, s.reason, "
            "s.current, c.count FROM cells c JOIN targets t ON t.key = c.source JOIN cell_state s ON s.cell = c.id "
            "ORDER BY c.dataset, t.label, c.family, c.eps, c.attack, c.goal",
        )
        for board in served.get(row.key, [None])
        if not boards or board in boards
    ]
    table = new_table()
    table.add_column("key", no_wrap=True, overflow="fold")
    names(table, "source", (row.label for row, _ in rows))
    table.add_column("board", overflow="fold")
    names(table, "attack", (row.entrant for row, _ in rows))
    numbers(table, "fooled")
    failures: dict[str, None] = {}
    everywhere = store.boards()
    for row, board in rows:
        share = shares.get((row.key, board))
        how = percent(share) if share is not None else ""
        if row.status != "done":
            how = row.status
            failures |= {f"{row.key[:12]}: {row.reason}": None} if row.reason else {}
        elif row.key in unplaced:
            how = f"{percent(unplaced[row.key])} of {row.count}, on no board"
        elif share is None and (row.key, board) in earlier:
            how = "of an earlier target"
        elif share is None:
            how = "no verdict" if row.current else "replaced"
        words = (row.key[:12], row.label, board or board_of(row, everywhere), row.entrant, how)
        table.add_row(*(Text(printable(word)) for word in words))
    if unplaced:
        failures |= {
            "On no board: no board here judges the examples of these cells. `advbench show` sets them beside the "
            "numbers of the boards that have the same target and ball.": None
        }
    show_table(console, table, remarks=failures)
