"""`advbench plugins`: who shipped what, in which version; broken ones with their error."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import plain
from advbench.plugins import serves
from advbench.terminal.tables import table
from advbench.terminal.text import complain, say, terminal


def register(app: typer.Typer) -> None:
    app.command("plugins")(plugins)


def plugins(
    context: typer.Context,
    strict: opt.Strict = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where broken plugins broke.")] = False,
    attacks: Annotated[bool, typer.Option("--attacks", help="Show which attack serves which ball and goal.")] = False,
) -> None:
    """List plugins with the distribution and version that shipped them; exit code 1 when one is broken."""
    console = terminal()
    registry = context.obj.registry
    if attacks:
        registry = context.obj.checked(strict)
        matrix = table()
        for heading in serves.headings(registry):
            matrix.add_column(heading)
        for row in serves.rows(registry):
            matrix.add_row(*(Text(plain(word)) for word in row))
        console.print(matrix)
        return
    for broken in registry.broken:
        say(console, f"broken: {broken.origin}: {broken.error}", "red")
        if traceback:
            console.print(Text(plain(broken.traceback, newlines=True), style="dim"), soft_wrap=True)
    found = table()
    for heading in ("kind", "name", "shipped by", "what it is"):
        found.add_column(heading, overflow="fold")
    for kind in ("attack", "model", "defense", "data set", "threat"):
        for label, plugin in registry.of_kind(kind).items():
            origin = registry.origin(plugin)
            words = (kind, label, f"{origin.distribution} {origin.version}", plugin.summary)
            found.add_row(*(Text(plain(word)) for word in words))
    console.print(found)
    context.obj.refuse_broken(strict)
    if registry.broken:
        who = ", ".join(str(broken.origin) for broken in registry.broken)
        complain(f"broken, and so not in the list: {who}; the first lines say why, and --traceback where")
        raise typer.Exit(1)
