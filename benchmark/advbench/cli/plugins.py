"""`advbench plugins`: who shipped what, in which version; broken ones with their error."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.text import plain


def register(app: typer.Typer) -> None:
    app.command("plugins")(plugins)


def plugins(
    context: typer.Context,
    strict: opt.Strict = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where broken plugins broke.")] = False,
) -> None:
    """List plugins with the distribution and version that shipped them."""
    console = Console()
    registry = context.obj.registry
    table = Table()
    for heading in ("kind", "name", "shipped by", "what it is"):
        table.add_column(heading, overflow="fold")
    for kind in ("attacks", "models", "defenses", "datasets"):
        for label, plugin in getattr(registry, kind).items():
            origin = registry.origin(plugin)
            words = (kind, label, f"{origin.distribution} {origin.version}", plugin.summary)
            table.add_row(*(Text(plain(word)) for word in words))
    console.print(table)
    for broken in registry.broken:
        console.print(Text(f"broken: {plain(str(broken.origin))}: {plain(broken.error)}", style="red"))
        if traceback:
            console.print(Text(plain(broken.traceback, newlines=True), style="dim"))
    context.obj.checked(strict)
