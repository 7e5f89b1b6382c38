"""`advbench check`: the conformance kit without pytest."""

from __future__ import annotations

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
from advbench.spec import did_you_mean, parse
from advbench.values import configure

KINDS = ("attack", "model", "defense", "data set")
WORDS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("not here", "yellow")}


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    context: typer.Context,
    plugin: Annotated[
        list[str] | None,
        typer.Argument(help="Entrants, as pgd or 'pgd(steps=5)', or packages by name; all that are installed without."),
    ] = None,
    data: opt.DataFolder = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show also what passed without a remark.")] = False,
    strict: opt.Strict = False,
) -> None:
    """Hold plugins against the contract, on tiny images; exit code 1 when one breaks it."""
    from advbench.testing import checks, run_checks

    registry: Registry = context.obj.checked(strict)
    named = [entrant for name in plugin or () for entrant in find(registry, name)]
    found = checks(*(named if plugin else [registry]), folders=DataFolders.default(data or ()))
    console = Console()
    counts = dict.fromkeys(WORDS, 0)
    told: set[str] = set()  # one line is enough to say that a data set is elsewhere
    for name, ok, message in run_checks(found):
        counts[ok] += 1
        if verbose or (message and not (ok is None and message in told)):
            told.add(message)
            word, style = WORDS[ok]
            remark = f": {plain(message)}" if message else ""
            console.print(Text.assemble((f"{word:<9}", style), plain(name), remark), soft_wrap=True)
    console.print(", ".join(f"{count} {WORDS[ok][0].lower()}" for ok, count in counts.items() if count))
    for broken in registry.broken:
        origin = plain(str(broken.origin))
        console.print(Text(f"broken, so not checked: {origin}: {plain(broken.error)}", style="red"), soft_wrap=True)
    if counts[False]:
        raise typer.Exit(1)


def find(registry: Registry, name: str) -> list[Plugin]:
    """What a package shipped, all entrants of a name, or the one with the parameters given."""
    shipped = [
        entrant
        for one in registry.loaded
        for entrant in one.entrants
        if name in (one.origin.distribution, one.origin.entry_point)
    ]
    if shipped:
        return shipped
    every: list[Plugin] = [entrant for kind in KINDS for entrant in registry.of_kind(kind).values()]
    call = parse(name)
    named = [entrant for entrant in every if entrant.name == call.name]
    if not named:
        names = sorted({entrant.name for entrant in every})
        raise AdvbenchError(f"no plugin is called {name!r}{did_you_mean(call.name, names)}; known: {', '.join(names)}")
    if not call.params:
        return named
    exact = [entrant for entrant in named if entrant.label == call.label]
    return exact or [configure(named[0], call.params, name)]
