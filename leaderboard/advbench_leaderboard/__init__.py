"""The leaderboard: static pages from the facts of a database; imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from advbench.hooks import hookimpl

_SHOWN = 10

_DB = Annotated[Path, typer.Option("--db", help="The SQLite database of results.")]


@hookimpl
def advbench_finished(database: Path) -> Path:
    """The pages of a run's database, in a folder beside it."""
    from advbench_leaderboard.render import render

    return render(database, database.with_name(f"{database.stem}-site")).index


def render_command(
    db: _DB = Path("results.sqlite"),
    out: Annotated[Path, typer.Option("--out", help="The folder for the pages; made when missing.")] = Path("site"),
    with_database: Annotated[
        bool, typer.Option("--with-database", help="Lay a copy of the database beside the pages, as a download.")
    ] = False,
) -> None:
    """Render the leaderboard as static pages; only what changed is written again.

    Exit code 1 where something in the database can't be read: the pages are there, and say what is missing.
    """
    from advbench_leaderboard.render import render
    from advbench_leaderboard.text import count_of

    made = render(db, out, with_database=with_database)
    typer.echo(f"{count_of(made.boards, 'board')}, {made.changed} of {made.files} files written: {made.index}")
    for problem in made.problems[:_SHOWN]:
        typer.echo(f"· {problem}")
    if len(made.problems) > _SHOWN:
        typer.echo(f"· and {len(made.problems) - _SHOWN} more")
    if made.problems:
        raise typer.Exit(1)


def serve_command(
    db: _DB = Path("results.sqlite"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes any free one.")] = 8000,
) -> None:
    """Look at the leaderboard here: render it to a temporary folder and serve that on 127.0.0.1 until Ctrl-C."""
    from advbench_leaderboard.serve import serve

    serve(db, port, typer.echo)
