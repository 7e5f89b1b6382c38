"""The leaderboard: static pages from the facts of a database; imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from advbench.hooks import hookimpl


@hookimpl
def advbench_commands(app: typer.Typer) -> None:
    app.command("render")(render_command)


@hookimpl
def advbench_finished(database: Path) -> Path:
    """The pages of a run's database, in a folder beside it."""
    from advbench_leaderboard.render import render

    return render(database, database.with_name(f"{database.stem}-site"))[0]


def render_command(
    db: Annotated[Path, typer.Option("--db", help="The SQLite database of results.")] = Path("results.sqlite"),
    out: Annotated[Path, typer.Option("--out", help="The folder for the pages; made when missing.")] = Path("site"),
) -> None:
    """Render the leaderboard: one static page a board, and an index."""
    from advbench_leaderboard.render import render

    index, *boards = render(db, out)
    typer.echo(f"{len(boards)} board{'' if len(boards) == 1 else 's'}: {index}")
