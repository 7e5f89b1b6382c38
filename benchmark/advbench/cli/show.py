"""`advbench show`: the rates of a database in the terminal, and of one cell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.tables import board_tables, cell_table
from advbench.cli.text import percent, plain, say, terminal
from advbench.errors import AdvbenchError
from advbench.spec import did_you_mean
from advbench.store import Store
from advbench.threats.radius import written_radius


def register(app: typer.Typer) -> None:
    app.command("show")(show)


def show(
    cell: Annotated[
        str | None, typer.Argument(metavar="[CELL]", help="The beginning of a cell's key, for that cell alone.")
    ] = None,
    db: opt.Database = opt.DATABASE,
    board: opt.Boards = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its key and how it ended.")] = False,
) -> None:
    """Show the boards of a database, its cells, or one cell."""
    console = terminal()
    with Store.open(db, readonly=True) as store:
        if cell is not None:
            console.print(cell_table(store.cell(cell)))
            return
        refuse_unknown(board, store, db)
        if cells:
            console.print(_cells(store, board))
        elif tables := board_tables(store, board):
            for table in tables:
                console.print(table)
        else:
            say(console, "No boards yet; `advbench run` makes some.")


def refuse_unknown(names: Iterable[str] | None, store: Store, db: Path) -> None:
    """A board that is not there would else look like one without results."""
    known = {row["name"] for row in store.boards()}
    if missing := set(names or ()) - known:
        name = min(missing)
        there = ", ".join(sorted(known)) or "none"
        raise AdvbenchError(f"no board {name!r} in {db}; there are: {there}{did_you_mean(name, known)}")


def _cells(store: Store, boards: list[str] | None) -> Table:
    table = Table()
    for heading in ("key", "source", "threat", "attack", "goal", "status"):
        table.add_column(heading, overflow="fold")
    table.add_column("fooled", justify="right")
    fooled: dict[str, list[float]] = {}  # several where a cell without a radius stands on several boards
    for row in store.rates("fooling"):
        if row["rate"] is not None and (not boards or row["board_name"] in boards):
            fooled.setdefault(row["cell"], []).append(row["rate"])
    on_boards = {row["cell"] for row in store.rates("board_cells") if not boards or row["board_name"] in boards}
    rows = store.rows(
        "SELECT c.key, t.label, c.dataset, c.family, c.eps, c.attack, c.goal, s.status, s.reason FROM cells c "
        "JOIN targets t ON t.key = c.source JOIN cell_state s ON s.cell = c.id "
        "ORDER BY c.dataset, t.label, c.family, c.eps, c.attack, c.goal"
    )
    for row in rows:
        if boards and row["key"] not in on_boards:
            continue
        eps = "∞" if row["eps"] is None else written_radius(row["eps"])
        status = row["status"] + (f": {row['reason']}" if row["reason"] and row["status"] == "failed" else "")
        ball = f"{row['dataset']}/{row['family']}/{eps}"
        words = (row["key"][:12], row["label"], ball, row["attack"], row["goal"], status)
        found = fooled.get(row["key"], [])
        ends = sorted({percent(share) for share in (min(found), max(found))}, key=float) if found else []
        table.add_row(*(Text(plain(word)) for word in words), " – ".join(ends) or "–")
    return table
