"""`advbench plugins`: who shipped what, in which version; broken ones with their error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from advbench.cli import options as opt
from advbench.errors import printable
from advbench.terminal.tables import new_table
from advbench.terminal.text import complain, say, terminal

if TYPE_CHECKING:
    from advbench.plugins.registry import Broken
    from advbench.plugins.remembered import Row


def plugins(
    context: typer.Context,
    strict: opt.Strict = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where broken plugins broke.")] = False,
    attacks: Annotated[bool, typer.Option("--attacks", help="Show which attack serves which ball and goal.")] = False,
) -> None:
    """List plugins with the distribution and version that shipped them; exit code 1 when one is broken."""
    console = terminal()
    if attacks:
        from advbench.plugins import serves

        registry = context.obj.checked(strict)
        matrix = new_table()
        for heading in serves.headings(registry):
            matrix.add_column(heading)
        for row in serves.rows(registry):
            matrix.add_row(*(Text(printable(word)) for word in row))
        console.print(matrix)
        return
    listed: Iterable[Row] = context.obj.memory.entrants
    broken: list[Broken] = []
    if strict or traceback or not context.obj.memory.whole:  # what fails is tried again: it may have been mended
        listed, broken = context.obj.described(), context.obj.registry.broken
    for one in broken:
        say(console, f"broken: {one.origin}: {one.error}", "red")
        if traceback:
            console.print(Text(printable(one.traceback, newlines=True), style="dim"), soft_wrap=True)
    table = new_table()
    for heading in ("kind", "name", "shipped by", "what it is"):
        table.add_column(heading, overflow="fold")
    for entrant in listed:
        words = (entrant.kind, entrant.label, f"{entrant.distribution} {entrant.version}", entrant.summary)
        table.add_row(*(Text(printable(word)) for word in words))
    console.print(table)
    if broken:
        context.obj.refuse_broken(strict)
        who = ", ".join(str(one.origin) for one in broken)
        complain(f"broken, and so not in the list: {who}; the first lines say why, and --traceback where")
        raise typer.Exit(1)
