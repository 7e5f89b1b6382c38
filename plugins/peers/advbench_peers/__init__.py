"""`advbench speed`: an attack's time against the passes it needs, and against other libraries."""

import typer

from advbench.hooks import hookimpl


@hookimpl
def advbench_commands(app: typer.Typer) -> None:
    from advbench_peers.command import register

    register(app)
