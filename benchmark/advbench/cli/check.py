"""`advbench check`: the conformance kit without pytest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from advbench.cli import options as opt
from advbench.cli.text import plain
from advbench.data import DataFolders
from advbench.errors import AdvbenchError
from advbench.plugin import Plugin
from advbench.registry import Registry
from advbench.spec import configure, did_you_mean, parse

KINDS = ("attack", "model", "defense", "data set")
PluginNames = Annotated[
    list[str] | None,
    typer.Argument(help="Entrants, as pgd or 'pgd(steps=5)', distributions or entry points; all without."),
]


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    context: typer.Context,
    plugin: PluginNames = None,
    data: opt.DataFolder = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show also what passed.")] = False,
    strict: opt.Strict = False,
) -> None:
    """Hold plugins against the contract: every check of the conformance kit; exit code 1 when one fails."""
    from advbench.testing import checks, run_checks

    registry: Registry = context.obj.checked(strict)
    chosen = [entrant for name in plugin for entrant in find(registry, name)] if plugin else [registry]
    console = Console()
    counts = {True: 0, False: 0, None: 0}
    for name, ok, message in run_checks(checks(*dict.fromkeys(map(_hashable, chosen)), folders=DataFolders.default(data or ()))):
        counts[ok] += 1
        word, style = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("not here", "yellow")}[ok]
        if verbose or message:
            line = Text(f"{word:<9}", style=style) + Text(plain(name), style="")
            console.print(line + Text(f": {plain(message)}" if message else ""), soft_wrap=True)
    console.print(f"{counts[True]} passed, {counts[False]} failed, {counts[None]} not here")
    for broken in registry.broken:
        console.print(Text(f"broken, so not checked: {plain(str(broken.origin))}: {plain(broken.error)}", style="red"))
    raise typer.Exit(1 if counts[False] else 0)
