"""`advbench show`: the rates of a database in the terminal, and of one cell."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.tables import board_tables, cell_table
from advbench.cli.text import percent, plain
from advbench.errors import AdvbenchError
from advbench.store import Store


def register(app: typer.Typer) -> None:
    app.command("show")(show)


def show(
    cell: Annotated[str | None, typer.Argument(help="The beginning of a cell's key, for that cell alone.")] = None,
    db: opt.Database = opt.DATABASE,
    board: Annotated[list[str] | None, typer.Option("--board", help="Only this board; may be repeated.")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its key and how it ended.")] = False,
) -> None:
    """Show the boards of a database, its cells, or one cell."""
    console = Console()
    with Store.open(db, readonly=True) as store:
        if cell:
            console.print(cell_table(store.cell(cell)))
        elif cells:
            console.print(_cells(store))
        else:
            known = {row["name"] for row in store.boards()}
            if missing := set(board or ()) - known:
                there = ", ".join(sorted(known)) or "none"
                raise AdvbenchError(f"no board {min(missing)!r} in {db}; there are: {there}")
            tables = board_tables(store, board)
            for table in tables:
                console.print(table)
            if not tables:
                console.print(Text("No boards yet; `advbench run` makes some."))


def _cells(store: Store) -> Table:
    table = Table()
    for heading in ("key", "source", "threat", "attack", "goal", "status"):
        table.add_column(heading, overflow="fold")
    table.add_column("fooled", justify="right")
    fooled = {row["cell"]: row["rate"] for row in store.rates("fooling")}
    rows = store.rows(
        "SELECT c.key, t.label, c.family, c.eps, c.attack, c.goal, s.status, s.reason FROM cells c "
        "JOIN targets t ON t.key = c.source JOIN cell_state s ON s.cell = c.id "
        "ORDER BY t.label, c.family, c.eps, c.attack, c.goal"
    )
    for row in rows:
        eps = "∞" if row["eps"] is None else f"{row['eps']:g}"
        status = row["status"] + (f": {row['reason']}" if row["reason"] and row["status"] == "failed" else "")
        words = (row["key"][:12], row["label"], f"{row['family']} {eps}", row["attack"], row["goal"], status)
        table.add_row(*(Text(plain(word)) for word in words), percent(fooled.get(row["key"])))
    return table
